"""What clusters do to a run; each ends in the bytes of a calm one, or in one clear line."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster, start_client, wait_for_records, wait_until
from distributed import Client
from fakes import (
    CHUNKS,
    FIBRE,
    SEED,
    SETTINGS,
    fake_predictor,
    fibre,
    save_brain,
    save_card,
    stored_bytes,
)

from neuroconn import sites
from neuroconn.errors import InterruptedRunError
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.report import InferReport
from neuroconn.inference.run import infer
from neuroconn.inference.watching.events import Progress

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A folder with brain and model, and the bytes of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("calm")
    save_brain(folder / "brain.zarr", fibre())
    save_card(folder / "model")
    run(folder, folder / "out.zarr", scheduler="sync")
    return folder, stored_bytes(folder / "out.zarr")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    return lambda **settings: monkeypatch.setenv("FAKE", json.dumps(settings))


def run(source: Path, output: Path, **options: Any) -> InferReport:
    usual: dict[str, Any] = {"seed_source": "all", "settings": SETTINGS}
    return infer(
        source / "brain.zarr",
        output,
        model=source / "model",
        predictor=fake_predictor,
        **{**usual, **options},
    )


def at(chunks: int, act: Callable[[], Any]) -> Callable[[Progress], None]:
    """A listener that acts once, when so many chunks are done."""
    left = [act]

    def listen(progress: Progress) -> None:
        if left and progress.done >= chunks:
            left.pop()()

    return listen


def records(output: Path) -> int:
    return len(list(Journal.read(output / "run").records()))


def test_a_worker_of_another_make_that_joins_later_gets_no_chunk(
    tmp_path: Path,
    calm: tuple[Path, dict[str, bytes]],
    fake: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, expected = calm
    fake(seconds=0.03)
    seen = tmp_path / "seen"
    other = {
        "DASK_DISTRIBUTED__WORKER__PRELOAD": "other_versions",
        "FAKE": json.dumps({"log": str(seen)}),
    }
    with Cluster(tmp_path) as cluster:
        cluster.scheduler().worker("good", slots=1)

        def join() -> None:
            cluster.worker("other", slots=4, **other)
            wait_until(lambda: "failed to setup" in cluster.log("other"), "nobody joined")

        report = run(source, tmp_path / "out.zarr", scheduler=cluster.address, progress=at(5, join))

        assert cluster.alive("other")
    assert report.complete
    assert stored_bytes(tmp_path / "out.zarr") == expected
    assert "worker other has torch 0.1 (client:" in caplog.text
    assert "It gets no chunks" in caplog.text
    assert not seen.exists()


def test_a_run_whose_workers_are_all_gone_for_long_stops_resumable(
    tmp_path: Path,
    calm: tuple[Path, dict[str, bytes]],
    fake: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, expected = calm
    fake(seconds=0.02)
    monkeypatch.setattr("neuroconn.sites.watch.PATIENCE_S", 1.0)
    monkeypatch.setattr("neuroconn.sites.watch.LOOK_AGAIN_S", 0.2)
    output = tmp_path / "out.zarr"
    with Cluster(tmp_path) as cluster:
        cluster.scheduler().worker("first")

        with pytest.raises(InterruptedRunError, match="no worker has been there") as stopped:
            run(
                source,
                output,
                scheduler=cluster.address,
                progress=at(10, lambda: cluster.kill("first")),
            )
        done = records(output)
        report = run(source, output, scheduler=cluster.worker("second").address)

    assert stopped.value.exit_code == 75
    assert 10 <= done < CHUNKS
    assert report.inferred == CHUNKS - done
    assert stored_bytes(output) == expected


def test_a_worker_that_holds_the_interpreter_too_long_is_given_up_without_harm(
    tmp_path: Path, calm: tuple[Path, dict[str, bytes]], fake: Callable[..., None]
) -> None:
    source, expected = calm
    # One chunk, once: no heartbeat for longer than the scheduler waits for one.
    fake(seconds=0.02, stall=8.0, stalled=str(tmp_path / "stalled"))
    with Cluster(tmp_path, scheduler__worker_ttl="1s") as cluster:
        cluster.scheduler().worker("one").worker("two")

        report = run(source, tmp_path / "out.zarr", scheduler=cluster.address)

        log = cluster.log("scheduler")
    assert (tmp_path / "stalled").exists()
    assert "did not send a heartbeat" in log or "Worker failed to heartbeat" in log, log
    assert report.complete
    assert stored_bytes(tmp_path / "out.zarr") == expected


def test_a_chunk_that_segfaults_its_worker_fails_alone(
    tmp_path: Path, fake: Callable[..., None]
) -> None:
    volume = fibre()
    volume[-2, -2, -2] = 777  # in full in the tile of the last chunk alone
    save_brain(tmp_path / "brain.zarr", volume)
    save_card(tmp_path / "model")
    fake(segfault=777)

    with Cluster(tmp_path) as cluster:
        cluster.scheduler().worker("one", nanny=True).worker("two", nanny=True)
        report = run(
            tmp_path,
            tmp_path / "out.zarr",
            scheduler=cluster.address,
            seed_source=None,
            seeds=[SEED, (46, 62, 78)],
        )

        assert "exitcode -11" in cluster.log("one") + cluster.log("two") or "signal 11" in (
            cluster.log("one") + cluster.log("two")
        )
    assert [index for index, _ in report.failed] == [(2, 3, 4)]
    assert "poison" in report.failed[0][1]
    assert report.chunks["neurite"] == len(FIBRE)
    assert report.exit_code == 1


def test_what_a_killed_client_left_running_does_no_harm_to_the_next(
    tmp_path: Path, calm: tuple[Path, dict[str, bytes]]
) -> None:
    """Its tasks end late, in the old place; the next client does not inherit where that was."""
    source, expected = calm
    for name in ("brain.zarr", "model"):
        (tmp_path / name).symlink_to(source / name)
    with Cluster(tmp_path) as cluster:
        cluster.scheduler().worker("one", FAKE=json.dumps({"seconds": 0.2}))
        client = start_client(tmp_path, cluster.address)
        wait_for_records(tmp_path, 3)
        client.kill()
        client.wait()
        (tmp_path / "moved").mkdir()
        (tmp_path / "out.zarr").rename(tmp_path / "moved/out.zarr")

        report = run(source, tmp_path / "moved/out.zarr", scheduler=cluster.address)

    assert report.complete
    assert stored_bytes(tmp_path / "moved/out.zarr") == expected


def forget_to_free_memory(dask_worker: Any = None) -> None:
    """Make a worker believe that its memory is full from now on."""
    dask_worker.memory_manager.memory_pause_fraction = 1e-9


def test_a_worker_whose_memory_stays_full_is_restarted(
    tmp_path: Path,
    calm: tuple[Path, dict[str, bytes]],
    fake: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, expected = calm
    fake(seconds=0.05)
    monkeypatch.setattr("neuroconn.sites.watch.PATIENCE_S", 1.0)
    monkeypatch.setattr("neuroconn.sites.watch.LOOK_AGAIN_S", 0.2)
    with Cluster(tmp_path) as cluster:
        cluster.scheduler().worker("full", nanny=True).worker("good", slots=1)

        def fill() -> None:
            with Client(cluster.address, set_as_default=False) as client:
                workers = client.scheduler_info(n_workers=-1)["workers"].items()
                full = [address for address, worker in workers if worker["name"] == "full"]
                client.run(forget_to_free_memory, workers=full)

        report = run(source, tmp_path / "out.zarr", scheduler=cluster.address, progress=at(5, fill))

    assert "worker full is out of memory and runs nothing more: restarting it" in caplog.text
    assert report.complete
    assert stored_bytes(tmp_path / "out.zarr") == expected


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a quarter of a megabyte."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_worker_whose_own_disk_is_full_goes_on(
    tmp_path: Path,
    calm: tuple[Path, dict[str, bytes]],
    fake: Callable[..., None],
    small_disk: Path,
) -> None:
    source, expected = calm
    fake(seconds=0.01)

    def fill() -> None:
        with pytest.raises(OSError, match="No space"):
            (small_disk / "ballast").write_bytes(bytes(1 << 20))

    with Cluster(tmp_path) as cluster:
        cluster.scheduler().worker("one", "--local-directory", str(small_disk))
        report = run(source, tmp_path / "out.zarr", scheduler=cluster.address, progress=at(5, fill))

    assert report.complete
    assert stored_bytes(tmp_path / "out.zarr") == expected


def test_a_worker_with_threads_to_spare_takes_more_chunks_where_the_store_is_slow(
    tmp_path: Path, calm: tuple[Path, dict[str, bytes]], fake: Callable[..., None]
) -> None:
    source, expected = calm
    fake(seconds=0.05)
    slots: list[int] = []
    options = ["--resources", "GPU=2"]
    slow = {"DASK_DISTRIBUTED__WORKER__PRELOAD": "slow_store"}
    with Cluster(tmp_path) as cluster:
        cluster.scheduler().worker("one", *options, slots=6, **slow)
        run(
            source,
            tmp_path / "out.zarr",
            scheduler=cluster.address,
            progress=lambda progress: slots.append(progress.slots),
        )

    assert slots[0] == 2
    assert slots[-1] == 6  # all its threads: the store takes four times as long as the network
    assert stored_bytes(tmp_path / "out.zarr") == expected


def test_what_is_unwise_about_a_running_cluster_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unwise = {"scheduler__allowed_failures": 20, "scheduler__worker_ttl": "5s"}
    with Cluster(tmp_path, **unwise) as cluster:
        cluster.scheduler().worker("one", "--resources", "GPU=4", slots=1)
        with sites.connect(cluster.address, wait_s=60):
            pass

    assert "offers GPU=4 but has 1 threads" in caplog.text
    assert "no nanny" in caplog.text
    assert "worker kills 21 before" in caplog.text
    assert "worker-ttl is 5 s" in caplog.text
