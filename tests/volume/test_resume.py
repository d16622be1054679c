from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from neuroconn.errors import OutputError, StorageError
from neuroconn.volume import convert, open_image, verify_image
from neuroconn.volume.convert_journal import ConvertJournal, journal_path, read_journal

pytestmark = pytest.mark.usefixtures("narrow")

BANDS = 36


@pytest.fixture(params=["tensorstore", "zarr"], scope="module")
def small(request: pytest.FixtureRequest, small: dict[str, Any]) -> dict[str, Any]:
    """Every promise is kept with either engine."""
    return {**small, "engine": request.param}


class Killed(BaseException):
    """As sudden as a signal: nothing catches it."""


@pytest.fixture(scope="module")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, stack: Path, small: dict[str, Any], digests: Any
) -> dict[str, str]:
    brain = tmp_path_factory.mktemp("whole") / "brain.ome.zarr"
    convert(stack, brain, **small)
    files: dict[str, str] = digests(brain)
    return files


def kill_after(bands: int) -> Any:
    def progress(state: Any) -> None:
        if state.bands_done == bands:
            raise Killed

    return progress


@pytest.mark.parametrize("bands", [0, 1, 2, 5, 8, 19, 35])
def test_killed_and_resumed_gives_the_same_bytes(
    tmp_path: Path,
    stack: Path,
    small: dict[str, Any],
    digests: Any,
    uninterrupted: dict[str, str],
    bands: int,
) -> None:
    brain = tmp_path / "brain.ome.zarr"
    with pytest.raises(Killed):
        convert(stack, brain, **small, progress=kill_after(bands))
    assert "intensity" not in open_image(brain).attributes

    report = convert(stack, brain, **small)

    assert report.bands_written == BANDS - bands
    assert digests(brain) == uninterrupted


def test_killed_in_the_middle_of_writes_again_and_again_gives_the_same_bytes(
    tmp_path: Path,
    stack: Path,
    small: dict[str, Any],
    digests: Any,
    uninterrupted: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from neuroconn.volume import cascade

    brain, write, budget = tmp_path / "brain.ome.zarr", cascade.write_region, [0]

    def fragile(array: Any, box: Any, data: Any) -> None:
        if budget[0] == 0:
            raise Killed
        budget[0] -= 1
        write(array, box, data)
        leftover = brain / "0" / "c" / f"torn{budget[0]}.abc.partial"
        leftover.parent.mkdir(exist_ok=True)
        leftover.write_bytes(b"half a shard")

    monkeypatch.setattr(cascade, "write_region", fragile)
    kills = 0
    for writes in range(7, 90, 3):
        budget[0] = writes
        try:
            convert(stack, brain, **small)
            break
        except Killed:
            kills += 1
    monkeypatch.setattr(cascade, "write_region", write)
    for leftover in brain.rglob("*.partial"):
        leftover.unlink()

    assert kills > 3
    assert digests(brain) == uninterrupted


def test_leftovers_of_killed_writers_are_swept_on_resume(
    tmp_path: Path, stack: Path, small: dict[str, Any], digests: Any,
    uninterrupted: dict[str, str],
) -> None:  # fmt: skip
    brain = tmp_path / "brain.ome.zarr"
    with pytest.raises(Killed):
        convert(stack, brain, **small, progress=kill_after(4))
    for leftover in ("5.abc.partial", "5.__lock"):
        (brain / "0" / "c").mkdir(exist_ok=True)
        (brain / "0" / "c" / leftover).write_bytes(b"half a shard")

    convert(stack, brain, **small)

    assert digests(brain) == uninterrupted


@pytest.mark.parametrize("damage", ["torn", "flipped", "lost"])
def test_a_damaged_journal_costs_bands_but_never_bytes(
    tmp_path: Path,
    stack: Path,
    small: dict[str, Any],
    digests: Any,
    uninterrupted: dict[str, str],
    damage: str,
) -> None:
    brain = tmp_path / "brain.ome.zarr"
    with pytest.raises(Killed):
        convert(stack, brain, **small, progress=kill_after(6))
    path = journal_path(brain)
    data = bytearray(path.read_bytes())
    if damage == "torn":
        path.write_bytes(data[:-7])
    elif damage == "lost":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    report = convert(stack, brain, **small)

    assert report.bands_written > BANDS - 6
    assert digests(brain) == uninterrupted


def test_a_finished_brain_is_left_as_it_is(
    tmp_path: Path, stack: Path, small: dict[str, Any], digests: Any, monkeypatch: Any
) -> None:
    brain = tmp_path / "brain.ome.zarr"
    first = convert(stack, brain, **small)
    before = {p: p.stat().st_mtime_ns for p in brain.rglob("*")}
    monkeypatch.setattr("neuroconn.volume.sources.tiff.source.TiffSource.read", None)

    again = convert(stack, brain, **small, resume=False)

    assert again.bands_written == 0
    assert again.intensity == first.intensity
    assert {p: p.stat().st_mtime_ns for p in brain.rglob("*")} == before


def test_no_resume_refuses_an_unfinished_brain(
    tmp_path: Path, stack: Path, small: dict[str, Any]
) -> None:
    with pytest.raises(Killed):
        convert(stack, tmp_path / "b", **small, progress=kill_after(3))

    with pytest.raises(OutputError, match="unfinished"):
        convert(stack, tmp_path / "b", **small, resume=False)
    assert any("unfinished" in problem for problem in verify_image(tmp_path / "b"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"downsample": "mean"}, "downsample was 'max' and is 'mean'"),
        ({"spacing": (9.0, 1.0, 1.0)}, "spacing_um was"),
        ({"shard": 16}, "shard was"),
        ({"smallest": 20}, "levels was"),
    ],
)
def test_other_settings_are_refused_by_name(
    tmp_path: Path, stack: Path, small: dict[str, Any], change: dict[str, Any], named: str
) -> None:
    with pytest.raises(Killed):
        convert(stack, tmp_path / "b", **small, progress=kill_after(3))

    with pytest.raises(OutputError, match=named):
        convert(stack, tmp_path / "b", **{**small, **change})


@pytest.mark.parametrize("finished", [True, False])
def test_another_source_is_refused_by_name(
    tmp_path: Path,
    stack: Path,
    voxels: NDArray[np.uint16],
    small: dict[str, Any],
    digests: Any,
    finished: bool,
) -> None:
    brain = tmp_path / "b"
    if finished:
        convert(stack, brain, **small)
    else:
        with pytest.raises(Killed):
            convert(stack, brain, **small, progress=kill_after(3))
    before = digests(brain)
    other = tmp_path / "brain.tif"
    tifffile.imwrite(other, voxels + np.uint16(1), photometric="minisblack", rowsperstrip=8)

    with pytest.raises(OutputError, match=r"source's (bytes|layout|sample) was"):
        convert(other, brain, **small, spacing=(1.0, 0.5, 0.5))

    assert digests(brain) == before


@pytest.mark.parametrize("name", ["0", ".neuroconn", "zarr.json"])
def test_nothing_is_written_through_links(
    tmp_path: Path, stack: Path, small: dict[str, Any], digests: Any, name: str
) -> None:
    with pytest.raises(Killed):
        convert(stack, tmp_path / "b", **small, progress=kill_after(3))
    kept = (tmp_path / "b" / name).rename(tmp_path / "elsewhere")
    (tmp_path / "b" / name).symlink_to(kept)
    before = digests(tmp_path)

    with pytest.raises(OutputError, match="nothing is written through links"):
        convert(stack, tmp_path / "b", **small)
    (tmp_path / "link").symlink_to(tmp_path / "b")
    with pytest.raises(OutputError):
        convert(stack, tmp_path / "link", **small)

    assert digests(tmp_path) == before


def test_two_conversions_into_one_brain_are_refused(
    tmp_path: Path, stack: Path, small: dict[str, Any]
) -> None:
    with pytest.raises(Killed):
        convert(stack, tmp_path / "b", **small, progress=kill_after(3))

    with (
        ConvertJournal(tmp_path / "b", {}),
        pytest.raises(OutputError, match="another process"),
    ):
        convert(stack, tmp_path / "b", **small)


def test_a_full_disk_stops_and_a_rerun_finishes(
    tmp_path: Path,
    stack: Path,
    small: dict[str, Any],
    digests: Any,
    uninterrupted: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    brain, append = tmp_path / "brain.ome.zarr", ConvertJournal.append

    def full(self: ConvertJournal, record: dict[str, Any]) -> None:
        if len(list(read_journal(brain))) == 5:
            raise StorageError("the disk is full")
        append(self, record)

    monkeypatch.setattr(ConvertJournal, "append", full)
    with pytest.raises(StorageError):
        convert(stack, brain, **small)
    monkeypatch.setattr(ConvertJournal, "append", append)
    convert(stack, brain, **small)

    assert digests(brain) == uninterrupted


def test_a_band_is_on_disk_before_the_journal_says_so(
    tmp_path: Path, stack: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from neuroconn.volume import convert_run

    waited: set[Path] = set()
    durable, append = convert_run.make_durable, ConvertJournal.append

    def wait(paths: list[Path]) -> None:
        durable(paths)
        waited.update(paths)

    def check(self: ConvertJournal, record: dict[str, Any]) -> None:
        for level, (z, y, x), (kept,) in record.get("written", []):
            path = tmp_path / "b" / str(level) / "c" / str(z) / str(y) / str(x)
            assert path.is_file() == (kept is not None)
            wanted = path.parent if small["engine"] == "tensorstore" else path
            assert kept is None or wanted in waited, f"{path} is not on disk yet"
        append(self, record)

    monkeypatch.setattr(convert_run, "make_durable", wait)
    monkeypatch.setattr(ConvertJournal, "append", check)
    convert(stack, tmp_path / "b", **small)

    assert waited
