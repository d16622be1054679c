"""Many workers write what one thread does, byte for byte."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster
from pairs import brain_image, map_image

from neuroconn.errors import ClusterError, InterruptedRunError
from neuroconn.exporter import distributed, export
from neuroconn.exporter.elsewhere import PairElsewhere

SHAPE = (60, 70, 80)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    distance = rng.integers(0, 251, SHAPE) / 25
    distance[:, :, :32] = np.nan
    brain_image(root / "brain", rng.gamma(2, 200, SHAPE).astype(np.uint16))
    map_image(root / "map", distance)
    return root / "brain", root / "map"


@pytest.fixture(scope="module")
def expected(images: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("one") / "out"
    export(*images, output, tile=20, threads=1)
    return tree(output)


def tree(folder: Path) -> dict[str, Any]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def inside() -> Iterator[Client]:
    """Workers that are threads of this process: quick, and their failures can be arranged."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_workers_write_the_same_tree(
    images: tuple[Path, Path], expected: dict[str, Any], inside: Client, tmp_path: Path
) -> None:
    report = export(*images, tmp_path / "out", tile=20, client=inside)

    assert tree(tmp_path / "out") == expected
    assert report.written == sum(level.tiles for level in report.levels)


@pytest.mark.cluster
def test_processes_write_the_same_tree_by_a_path_of_the_client(
    images: tuple[Path, Path],
    expected: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        monkeypatch.chdir(tmp_path)
        export(*images, "out", tile=20, client=client)

    assert tree(tmp_path / "out") == expected


def test_an_export_begun_on_workers_is_finished_by_threads(
    images: tuple[Path, Path], expected: dict[str, Any], inside: Client, tmp_path: Path
) -> None:
    class Stopped(BaseException):
        pass

    def stop(done: int, total: int) -> None:
        if done == 20:
            raise Stopped

    with pytest.raises(Stopped):
        export(*images, tmp_path / "out", tile=20, client=inside, progress=stop)

    report = export(*images, tmp_path / "out", tile=20, threads=2)

    assert tree(tmp_path / "out") == expected
    assert report.kept == 20


def test_a_failing_tile_is_the_error_of_the_export(
    images: tuple[Path, Path], inside: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(pair: PairElsewhere, box: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PairElsewhere, "tile", full)

    with pytest.raises(OSError, match="free some space"):
        export(*images, tmp_path / "out", tile=20, client=inside)

    assert not list((tmp_path / "out").rglob("mdata.bin"))


def test_tiles_lost_with_their_worker_are_made_again(
    images: tuple[Path, Path],
    expected: dict[str, Any],
    inside: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    submit, lost = inside.submit, []

    def losing(*args: Any, **options: Any) -> Any:
        future = submit(*args, **options)
        if len(lost) < 3:
            lost.append(options["key"])
            future.cancel()
        return future

    monkeypatch.setattr(inside, "submit", losing)

    export(*images, tmp_path / "out", tile=20, client=inside)

    assert len(lost) == 3
    assert tree(tmp_path / "out") == expected


def test_an_export_without_workers_ends_with_a_reason(
    images: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "PATIENCE_S", 0.2)
    monkeypatch.setattr(distributed, "_GLANCE_S", 0.1)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        with pytest.raises(ClusterError, match="no worker"):
            export(*images, tmp_path / "out", tile=20, client=client)
        cluster.scale(1)
        client.wait_for_workers(1)

        def leave(done: int, total: int) -> None:
            for worker in cluster.workers.values() if done == 1 else ():
                cluster.sync(worker.close)

        with pytest.raises(InterruptedRunError, match="no worker has been there"):
            export(*images, tmp_path / "out", tile=20, client=client, progress=leave)
