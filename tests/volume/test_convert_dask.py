from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from distributed import Client, LocalCluster
from numpy.typing import NDArray

from neuroconn.errors import ClusterError, VolumeError
from neuroconn.volume import convert, convert_dask, open_image, verify_image
from neuroconn.volume.convert_journal import read_journal

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("narrow")]

SHAPE = (24, 50, 60)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {"chunk": 4, "shard": 8, "smallest": 8, "spacing": (1.0, 1.0, 1.0)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "a.tif"
    voxels = np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.uint16)
    voxels[:9, :17] = 0
    tifffile.imwrite(path, voxels, photometric="minisblack", compression="zlib", rowsperstrip=8)
    return path


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, source: Path, settings: dict[str, Any]) -> Path:
    brain = tmp_path_factory.mktemp("alone") / "brain"
    convert(source, brain, **settings)
    return brain


class Stop(BaseException):
    """As sudden as a signal."""


def stop_after(bands: int) -> Any:
    def progress(state: Any) -> None:
        if state.bands_done >= bands:
            raise Stop

    return progress


@pytest.mark.parametrize("zarr_format", [3, 2])
def test_many_processes_write_the_bytes_of_one(
    tmp_path: Path, source: Path, settings: dict[str, Any], digests: Any, client: Client,
    zarr_format: Any,
) -> None:  # fmt: skip
    settings = {**settings, "zarr_format": zarr_format}
    convert(source, tmp_path / "one" / "brain", **settings)

    report = convert(source, tmp_path / "brain", **settings, client=client)

    assert report.bands == report.bands_written == 3 * 7 * 8
    assert digests(tmp_path / "brain") == digests(tmp_path / "one" / "brain")
    one, many = (open_image(p).attributes for p in (tmp_path / "one/brain", tmp_path / "brain"))
    assert one == many
    assert not verify_image(tmp_path / "brain")


@pytest.mark.parametrize("first", ["alone", "together"])
def test_what_one_began_the_other_finishes(
    tmp_path: Path, source: Path, settings: dict[str, Any], digests: Any, client: Client,
    alone: Path, first: str,
) -> None:  # fmt: skip
    begin, end = (None, client) if first == "alone" else (client, None)
    with pytest.raises(Stop):
        convert(source, tmp_path / "brain", **settings, client=begin, progress=stop_after(50))
    before = sum(1 for record in read_journal(tmp_path / "brain") if "histogram" in record)

    report = convert(source, tmp_path / "brain", **settings, client=end)

    assert report.bands_written == report.bands - before
    assert digests(tmp_path / "brain") == digests(alone)


def test_a_worker_that_dies_costs_its_task_only(
    tmp_path: Path, source: Path, settings: dict[str, Any], digests: Any, alone: Path
) -> None:
    killed: list[int] = []

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):

        def kill(state: Any) -> None:
            if state.bands_done > 30 and not killed:
                killed.append(state.bands_done)
                nanny = next(iter(cluster.workers.values()))
                nanny.process.process._process.kill()

        convert(source, tmp_path / "brain", **settings, client=client, progress=kill)

    assert killed
    assert digests(tmp_path / "brain") == digests(alone)


def test_damage_is_named_by_all_workers_and_filled_on_request(
    tmp_path: Path, source: Path, settings: dict[str, Any], client: Client
) -> None:
    with tifffile.TiffFile(source) as tif:
        hits = [tif.pages[z].dataoffsets[k] for z, k in ((3, 6), (20, 2), (21, 2))]  # type: ignore[union-attr]
    data = bytearray(source.read_bytes())
    for at in hits:
        data[at + 6 : at + 60] = bytes(54)
    bad = tmp_path / "a.tif"
    bad.write_bytes(data)

    with pytest.raises(VolumeError, match="places of the source cannot be read"):
        convert(bad, tmp_path / "brain", **settings, client=client)
    listed = (tmp_path / "brain/.neuroconn/damage.txt").read_text().splitlines()
    assert {line.split(",")[0] for line in listed} == {"z 3:4", "z 20:21", "z 21:22"}
    report = convert(bad, tmp_path / "brain", **settings, client=client, on_bad="fill")

    assert {b.start[0] for b in report.bad} == {3, 20, 21}
    assert not verify_image(tmp_path / "brain")


def test_a_scheduler_without_workers_is_refused(
    tmp_path: Path, source: Path, settings: dict[str, Any]
) -> None:
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
        pytest.raises(ClusterError, match="no worker"),
    ):
        convert(source, tmp_path / "brain", **settings, client=client)


def test_tasks_cover_what_is_missing_and_nothing_else(voxels: NDArray[np.uint16]) -> None:
    from neuroconn.geometry import plan_levels
    from neuroconn.volume.convert_plan import ConvertPlan

    plan = ConvertPlan(plan_levels(SHAPE, smallest=8), (4,) * 3, (8,) * 3, (8,) * 3, 2, "max")
    everything = list(convert_dask.task_bands(plan, set()))
    covered = [low for level, band in everything for low in plan.below(level, band)]

    assert sorted(covered) == list(plan.bands(0))
    level, band = everything[1]
    done = {(0, low) for low in plan.below(level, band)}
    assert list(convert_dask.task_bands(plan, done)) == [everything[0], *everything[2:]]
