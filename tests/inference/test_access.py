"""Who may reach the processes of a run."""

import datetime
import ipaddress
import urllib.parse
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from click.testing import CliRunner
from clusters import Cluster
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from distributed import Client
from fakes import (
    CHUNKS,
    SETTINGS,
    fake_predictor,
    fibre,
    save_brain,
    save_card,
    stored_bytes,
)

from neuroconn import sites
from neuroconn.cli import main
from neuroconn.config.access import Access
from neuroconn.errors import ClusterError
from neuroconn.inference.run import infer

pytestmark = pytest.mark.cluster

TODAY = datetime.datetime.now(datetime.UTC)


def authority(folder: Path) -> Access:
    """A new authority in ``folder``, and a certificate of 127.0.0.1 that it signed."""
    folder.mkdir()
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {folder.name}")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "neuroconn")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    ca = _certificate(ca_name, ca_name, ca_key.public_key(), ca_key, x509.BasicConstraints(True, 0))
    own = _certificate(name, ca_name, key.public_key(), ca_key, here)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "cert.pem").write_bytes(own.public_bytes(pem))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *plain))
    return Access(
        tls_ca=folder / "ca.pem", tls_cert=folder / "cert.pem", tls_key=folder / "key.pem"
    )


def _certificate(
    name: x509.Name, issuer: x509.Name, public: Any, signer: Any, extension: Any
) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(TODAY - datetime.timedelta(days=1))
        .not_valid_after(TODAY + datetime.timedelta(days=1))
        .add_extension(extension, critical=True)
        .sign(signer, hashes.SHA256())
    )


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return authority(tmp_path / "ours")


def sockets(processes: Any) -> dict[int, str]:
    """Ports that any of these processes listens on, and the address."""
    found = (c for p in processes for c in p.net_connections(kind="inet"))
    return {c.laddr.port: c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN}


def family() -> list[psutil.Process]:
    """This process and all that it started."""
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def test_everything_that_is_started_listens_on_loopback_only() -> None:
    with sites.connect("local:2") as client:
        assert set(sockets(family()).values()) == {"127.0.0.1"}
        assert client.dashboard_link.startswith("http://127.0.0.1:")


def test_what_is_opened_is_opened_with_a_warning_and_the_dashboard_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with sites.connect("local:1", access=Access(listen="0.0.0.0")) as client:
        found = sockets(family())
        dashboard = urllib.parse.urlsplit(client.dashboard_link)

    assert list(found.values()).count("0.0.0.0") == 3  # scheduler, nanny, worker
    assert (dashboard.hostname, found[dashboard.port]) == ("127.0.0.1", "127.0.0.1")
    assert "can run code as you" in caplog.text


def test_certificates_encrypt_a_local_cluster(
    access: Access, caplog: pytest.LogCaptureFixture
) -> None:
    with sites.connect("local:1", access=Access("127.0.0.1", *_files(access))) as client:
        assert client.scheduler.address.startswith("tls://")
        workers = client.scheduler_info(n_workers=-1)["workers"].items()
        assert all(a.startswith("tls://") and w["nanny"].startswith("tls://") for a, w in workers)
        plain = {"distributed.comm.require-encryption": False}
        with dask.config.set(plain), pytest.raises((OSError, TimeoutError)):
            Client(client.scheduler.address.replace("tls", "tcp"), timeout=1)
    assert "can run code" not in caplog.text


def _files(access: Access) -> tuple[Any, Any, Any]:
    return access.tls_ca, access.tls_cert, access.tls_key


def test_an_encrypted_cluster_takes_our_run_and_turns_others_away(
    tmp_path: Path, access: Access
) -> None:
    save_brain(tmp_path / "brain.zarr", fibre())
    model = save_card(tmp_path / "model")
    foreign = authority(tmp_path / "theirs")
    usual = {"model": model, "seed_source": "all", "settings": SETTINGS}
    with Cluster(tmp_path, access=access) as cluster:
        cluster.scheduler().worker()

        report = infer(
            tmp_path / "brain.zarr",
            tmp_path / "encrypted/out.zarr",
            scheduler=cluster.address,
            access=access,
            predictor=fake_predictor,
            **usual,
        )

        plain = cluster.address.replace("tls", "tcp")
        for address, tried, said in [
            (plain, Access(), "no scheduler answers"),
            (plain, access, "plain text: use tls://"),
            (cluster.address, foreign, "no scheduler answers"),
            (cluster.address, Access(), "asks for certificates"),
        ]:
            with (
                pytest.raises(ClusterError, match=said),
                sites.connect(address, access=tried, wait_s=1),
            ):
                pass
        assert set(sockets(cluster.processes()).values()) == {"127.0.0.1"}
    infer(
        tmp_path / "brain.zarr",
        tmp_path / "plain/out.zarr",
        scheduler="sync",
        predictor=fake_predictor,
        **usual,
    )
    assert report.visited == CHUNKS
    assert stored_bytes(tmp_path / "encrypted/out.zarr") == stored_bytes(
        tmp_path / "plain/out.zarr"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tls-ca", "ours/ca.pem"], "--tls-cert and --tls-key are missing"),
        (["--tls-ca", "a", "--tls-cert", "b", "--tls-key", "c"], "--tls-ca: there is no file a"),
        (["--listen", "0.0.0.0", "--scheduler", "tcp://127.0.0.1:1"], "runs already"),
        (["--scheduler", "tls://127.0.0.1:1"], "asks for certificates"),
    ],
)
@pytest.mark.parametrize("command", ["infer", "convert"])
def test_a_command_says_in_one_line_what_is_wrong_with_its_access(
    tmp_path: Path, command: str, options: list[str], said: str
) -> None:
    save_brain(tmp_path / "brain.zarr", fibre())
    paths = [str(tmp_path / "brain.zarr"), str(tmp_path / "out.zarr")]
    more = ["--seeds", "all"] if command == "infer" else []
    done = CliRunner().invoke(main, [command, *paths, *more, *options])

    assert done.exit_code == 2
    assert said in done.output
    assert len([line for line in done.output.splitlines() if "Error" in line]) == 1


def test_a_file_of_a_scheduler_says_whether_it_is_encrypted(tmp_path: Path, access: Access) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text('{"address": "tcp://127.0.0.1:1"}')
    with pytest.raises(ClusterError, match="plain text"), sites.connect(str(file), access=access):
        pass
    file.write_text("{}")
    with pytest.raises(ClusterError, match="names no address"), sites.connect(str(file)):
        pass
