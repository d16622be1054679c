import os
import time
from pathlib import Path

import psutil
import pytest
import yaml
from distributed import Client, LocalCluster

from neuroconn import sites
from neuroconn.config.presets import folder, list_sites
from neuroconn.errors import ClusterError

pytestmark = pytest.mark.cluster


def listening(process: psutil.Process) -> set[str]:
    connections = process.net_connections(kind="inet")
    return {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}


def test_everything_that_is_started_listens_on_loopback_only() -> None:
    with sites.connect("local:1") as client:
        me = psutil.Process()
        found = set.union(*(listening(p) for p in (me, *me.children(recursive=True))))

        assert found == {"127.0.0.1"}
        assert client.dashboard_link.startswith("http://127.0.0.1:")


def test_workers_offer_their_slots_and_share_the_cores() -> None:
    with sites.connect("local:2") as client:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        threads = client.run(os.getenv, "NEUROCONN_THREADS")
        gpus = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")

        each = 3 if sites.visible_gpus() else 1  # a CPU reads on the cores that it computes on
        assert sites.slots(client) == 2 * each
        assert [w["resources"] for w in workers] == [{"GPU": each}] * 2
        share = str(max(1, len(os.sched_getaffinity(0)) // 2))
        assert set(threads.values()) == {share}
        assert len(set(gpus.values())) == (2 if len(sites.visible_gpus()) > 1 else 1)


def test_nothing_is_left_running() -> None:
    before = {p.pid for p in psutil.Process().children(recursive=True)}

    with sites.connect("local:1"):
        pass

    after = psutil.Process().children(recursive=True)
    left = [p.cmdline() for p in after if p.pid not in before]
    assert [c for c in left if not any("resource_tracker" in word for word in c)] == []


@pytest.mark.parametrize("offers", [0, 1])
def test_a_cluster_where_tasks_would_wait_for_ever_is_refused_soon(offers: int) -> None:
    with (
        LocalCluster(
            n_workers=offers, processes=False, dashboard_address="127.0.0.1:0", threads_per_worker=1
        ) as cluster,
        LocalCluster(n_workers=0, processes=True, dashboard_address="127.0.0.1:0") as empty,
    ):
        address = empty.scheduler_address
        start = time.monotonic()
        if offers:
            with Client(cluster) as client, pytest.raises(ClusterError, match="--resources GPU=1"):
                sites.await_workers(client, "here", 0.3)
        else:
            with (
                pytest.raises(ClusterError, match="has no worker"),
                sites.connect(address, wait_s=1),
            ):
                pass
        assert time.monotonic() - start < 10


def test_a_scheduler_that_does_not_answer_is_named() -> None:
    with (
        pytest.raises(ClusterError, match=r"no scheduler answers at tcp://127\.0\.0\.1:1"),
        sites.connect("tcp://127.0.0.1:1", wait_s=1),
    ):
        pass


def test_the_environment_names_the_scheduler_when_nobody_else_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:2")

    with pytest.raises(ClusterError, match=r"127\.0\.0\.1:2"), sites.connect(wait_s=1):
        pass


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "no cluster site 'nowhere'"),
        ("local:0", "1 or more"),
        ("local:many", "1 or more"),
        ("gone.json", "no scheduler file"),
    ],
)
def test_a_name_that_means_nothing_is_explained(name: str, said: str) -> None:
    with pytest.raises(ClusterError, match=said), sites.connect(name):
        pass


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("module: os\nclass: system\nargs: [true]", "for safety only"),
        ("module: dask.distributed\nclass: Client", "not a cluster class"),
        ("module: dask.distributed\nclass: Nothing", "has no 'Nothing'"),
        ("module: dask_kubernetes\nclass: KubeCluster", "install it"),
        ("module: dask.distributed\nclass: LocalCluster\nkwargs: {nonsense: 1}", "did not start"),
        ("module: neuroconn.sites\nclass: local_cluster\ncolour: red", "unknown key 'colour'"),
    ],
)
def test_a_site_starts_clusters_and_nothing_else(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "site.yaml").write_text(text)

    with pytest.raises(ClusterError, match=said), sites.connect(str(tmp_path / "site.yaml")):
        pass


@pytest.mark.parametrize("name", list_sites())
def test_every_site_of_the_folder_is_valid(name: str) -> None:
    text = (folder("cluster") / f"{name}.yaml").read_text()

    site = sites.Site.model_validate(yaml.safe_load(text))

    assert site.module in sites.ALLOWED


def test_a_site_of_the_users_own_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUROCONN_CLUSTER_DIR", str(tmp_path))
    (tmp_path / "mine.yaml").write_text(
        "module: neuroconn.sites\n"
        "class: local_cluster\n"
        "kwargs: {n_workers: 1, slots: 5, device: cpu}"
    )

    with sites.connect("mine") as client:
        assert sites.slots(client) == 5


def test_gpus_are_counted_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, expected in {"": [], "-1": [], "0,3": ["0", "3"], "GPU-5": ["GPU-5"]}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert sites.visible_gpus() == expected


def test_asking_for_gpus_where_there_are_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    with pytest.raises(ClusterError, match="no GPU is visible"):
        sites.local_cluster(device="gpu")
