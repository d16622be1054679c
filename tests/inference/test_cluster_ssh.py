"""The site of machines one logs into, against an SSH server of this test."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
import yaml
from clusters import HERE
from fakes import CHUNKS, SETTINGS, fake_predictor, fibre, save_brain, save_card, stored_bytes

from neuroconn.config.presets import folder
from neuroconn.errors import ClusterError
from neuroconn.inference.run import infer

pytestmark = pytest.mark.cluster


@contextmanager
def ssh_server() -> Iterator[int]:
    """A port on loopback that runs commands on this machine."""
    command = [sys.executable, HERE / "ssh_server.py"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as server:
        try:
            assert server.stdout is not None
            yield int(server.stdout.readline())
        finally:
            for child in psutil.Process(server.pid).children(recursive=True):
                child.kill()
            server.kill()


def site(port: int, **more: Any) -> str:
    """``ssh.yaml`` as its user would edit it."""
    text = (folder("cluster") / "ssh.yaml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)
    login = {"port": port, "known_hosts": None, "username": "me"}
    found["kwargs"] |= {"hosts": ["127.0.0.1"] * 3, "connect_options": login}
    return yaml.safe_dump({**found, **more})


# Not in the default run: the asyncssh server of this test sometimes closes a connection.
@pytest.mark.chaos
def test_machines_are_logged_into_and_walk_encrypted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    save_brain(tmp_path / "brain.zarr", fibre())
    save_card(tmp_path / "model")
    seen = list[str]()

    def run(name: str, scheduler: str) -> Any:
        return infer(
            tmp_path / "brain.zarr",
            tmp_path / name / "out.zarr",
            model=tmp_path / "model",
            seed_source="all",
            settings=SETTINGS,
            scheduler=scheduler,
            predictor=fake_predictor,
            header=lambda job, backend, plan, frontier: seen.append(backend.name),
        )

    quiet = dask.config.set({"logging.distributed": "warning"})  # as the command line sets it
    with ssh_server() as port, quiet:
        (tmp_path / "mine.yaml").write_text(site(port, certificates=str(tmp_path)))
        report = run("ssh", str(tmp_path / "mine.yaml"))
    run("sync", "sync")

    assert report.visited == CHUNKS
    assert seen[0].startswith("tls://")
    assert "2 workers, 8 slots" in seen[0]
    outputs = [stored_bytes(tmp_path / name / "out.zarr") for name in ("ssh", "sync")]
    assert outputs[0] == outputs[1]


def test_every_machine_gets_a_worker_with_slots_and_shows_its_pages_to_nobody_else() -> None:
    """The options of ``dask worker`` and ``dask scheduler``, without a machine to log into."""
    options = yaml.safe_load(site(22))["kwargs"]

    worker = options["worker_options"]
    assert 1 <= worker["resources"]["GPU"] <= worker["nthreads"]
    for which in ("worker_options", "scheduler_options"):
        assert options[which]["dashboard_address"] == "127.0.0.1:0"


def test_a_login_that_fails_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(site(1))
    save_brain(tmp_path / "brain.zarr", fibre())
    model = save_card(tmp_path / "model")

    with pytest.raises(ClusterError, match="did not start"):
        infer(
            tmp_path / "brain.zarr",
            tmp_path / "out.zarr",
            model=model,
            seed_source="all",
            settings=SETTINGS,
            scheduler=str(tmp_path / "mine.yaml"),
            predictor=fake_predictor,
        )
