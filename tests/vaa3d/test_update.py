"""An updated tree is, byte for byte, a new one; what did not change is not made again."""

import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.errors import OutputError
from neuroconn.geometry import Box
from neuroconn.vaa3d import making, partition
from neuroconn.vaa3d.making import TileSource
from neuroconn.vaa3d.plan import TeraflyOptions, TeraflyPlan
from neuroconn.vaa3d.terafly import TeraflyReport, write_terafly

SHAPE = (40, 50, 60)
IMAGE = np.random.default_rng(0).integers(0, 60000, SHAPE, dtype=np.uint16)
IMAGE[:, :20, :20] = 0


@pytest.fixture(scope="module", autouse=True)
def _deep_pyramids() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "VIEW", 8)
        yield


class Walked:
    """An image and what a walk has added to it; counts what is read."""

    def __init__(self, walked: NDArray[np.bool_], *, only: bool = False) -> None:
        self.walked = walked
        self.asked: list[Box] = []
        self.source = TileSource(self.read, self.stamp, self.keep if only else None)

    def read(self, box: Box) -> NDArray[np.uint16]:
        self.asked.append(box)
        image, walked = IMAGE[box.slices], self.walked[box.slices]
        return np.where(walked, 65535 - image, image).astype(np.uint16)

    def stamp(self, box: Box) -> int:
        walked = self.walked[box.slices]
        return zlib.crc32(np.ascontiguousarray(walked)) if walked.any() else 0

    def keep(self, box: Box) -> bool:
        return bool(self.walked[box.slices].any())


def plan_of(tile: int, partition: Any = "fixed") -> TeraflyPlan:
    return TeraflyPlan(SHAPE, "uint16", options=TeraflyOptions(tile=tile, partition=partition))


def write(
    source: TileSource, output: Path, plan: TeraflyPlan, walk: str, **more: Any
) -> TeraflyReport:
    identity = {"walk": walk, "clip": 6}
    return write_terafly(source, output, plan, identity=identity, may_differ=("walk",), **more)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def walks(seed: int, boxes: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    before = np.zeros(SHAPE, dtype=bool)
    before[5:20, 5:20, 5:45] = True
    after = before.copy()
    for _ in range(boxes):
        z, y, x = (int(rng.integers(0, n - 3)) for n in SHAPE)
        after[z : z + 3, y : y + 3, x : x + 3] = True
    return before, after


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 999),
    boxes=st.integers(0, 3),
    tile=st.sampled_from([15, 16]),
    cut=st.sampled_from(["fixed", "balanced"]),
    only=st.booleans(),
    threads=st.integers(1, 2),
)
def test_an_updated_tree_is_that_of_a_new_export(
    seed: int,
    boxes: int,
    tile: int,
    cut: str,
    only: bool,
    threads: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root, plan = tmp_path_factory.mktemp("update"), plan_of(tile, cut)
    before, after = (Walked(w, only=only) for w in walks(seed, boxes))
    write(before.source, root / "old", plan, "first", threads=threads)
    old = tree(root / "old")

    report = write(after.source, root / "new", plan, "second", threads=threads, update=root / "old")
    write(after.source, root / "fresh", plan, "second", threads=threads)

    assert tree(root / "new") == tree(root / "fresh")
    assert tree(root / "old") == old
    assert report.reused + report.written == plan.tile_count
    assert report.reused or boxes
    assert not report.written or boxes


def test_a_tile_is_made_again_when_the_one_it_reaches_into_comes_to_be_written(
    tmp_path: Path,
) -> None:
    plan, before = plan_of(15), np.zeros(SHAPE, dtype=bool)
    before[:3, 40, :3] = True
    after = before.copy()
    after[:3, 40, 26] = True  # in the next tile, far from the voxel that both share
    write(Walked(before, only=True).source, tmp_path / "old", plan, "first")

    source = Walked(after, only=True).source
    write(source, tmp_path / "new", plan, "second", update=tmp_path / "old")

    write(source, tmp_path / "fresh", plan, "second")
    assert tree(tmp_path / "new") == tree(tmp_path / "fresh")


def test_only_changed_tiles_are_made_and_the_rest_are_links(tmp_path: Path) -> None:
    plan, (before, after) = plan_of(16), walks(0, 0)
    after[39, 49, 59] = True
    write(Walked(before).source, tmp_path / "old", plan, "first")

    changed = Walked(after)
    report = write(changed.source, tmp_path / "new", plan, "second", update=tmp_path / "old")

    last = tuple(n - 1 for n in plan.tilings[0].counts)
    assert changed.asked == [plan.tilings[0].box(last)]  # type: ignore[arg-type]
    assert report.written == len(plan.levels)
    shared = [p for p in (tmp_path / "new").rglob("*.tif") if p.stat().st_nlink == 2]
    assert len(shared) >= len(list((tmp_path / "new").rglob("*.tif"))) - report.written


def test_tiles_are_copied_where_links_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*paths: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(making.os, "link", refused)
    plan, (before, _) = plan_of(16), walks(0, 0)
    write(Walked(before).source, tmp_path / "old", plan, "first")

    write(Walked(before).source, tmp_path / "new", plan, "second", update=tmp_path / "old")

    write(Walked(before).source, tmp_path / "fresh", plan, "second")
    assert tree(tmp_path / "new") == tree(tmp_path / "fresh")
    assert all(p.stat().st_nlink == 1 for p in (tmp_path / "new").rglob("*.tif"))


@pytest.mark.parametrize("resumed_with", ["the same", "another", "none"])
def test_an_update_that_was_stopped_can_be_finished_from_any_old_tree_or_none(
    resumed_with: str, tmp_path: Path
) -> None:
    plan, (before, after) = plan_of(15), walks(1, 2)
    write(Walked(before).source, tmp_path / "old", plan, "first")
    write(Walked(np.zeros_like(before)).source, tmp_path / "another", plan, "none")
    write(Walked(after).source, tmp_path / "fresh", plan, "second")

    class Stopped(BaseException):
        pass

    def stop(done: int, total: int) -> None:
        if done == 12:
            raise Stopped

    output = tmp_path / "new"
    with pytest.raises(Stopped):
        write(Walked(after).source, output, plan, "second", update=tmp_path / "old", progress=stop)
    update = {"the same": tmp_path / "old", "another": tmp_path / "another", "none": None}

    report = write(Walked(after).source, output, plan, "second", update=update[resumed_with])

    assert tree(output) == tree(tmp_path / "fresh")
    assert report.kept == 12 or resumed_with != "the same"


def broken() -> dict[str, Callable[[Path], object]]:
    def unfinished(old: Path) -> None:
        (old / "RES(50x60x40)" / "mdata.bin").unlink()

    def without_record(old: Path) -> None:
        (old / "neuroconn.tiles").unlink()

    def torn_record(old: Path) -> None:
        (old / "neuroconn.tiles").write_bytes((old / "neuroconn.tiles").read_bytes()[:-40])

    def other_record(old: Path) -> None:
        (old / "neuroconn.tiles").write_text("title\n")

    def foreign(old: Path) -> None:
        (old / "neuroconn.json").unlink()

    def other_settings(old: Path) -> None:
        path = old / "neuroconn.json"
        path.write_text(path.read_text().replace('"clip": 6', '"clip": 7'))

    def lost_tile(old: Path) -> None:
        next(old.glob("RES*/**/*.tif")).unlink()

    def cut_tile(old: Path) -> None:
        os.truncate(next(old.glob("RES*/**/*.tif")), 100)

    def absent(old: Path) -> None:
        shutil.rmtree(old)

    cases = (unfinished, without_record, torn_record, other_record, foreign, other_settings)
    return {f.__name__: f for f in (*cases, lost_tile, cut_tile, absent)}


@pytest.mark.parametrize("case", list(broken()))
def test_trees_that_cannot_be_updated_are_named(case: str, tmp_path: Path) -> None:
    plan, (before, _) = plan_of(16), walks(0, 0)
    write(Walked(before).source, tmp_path / "old", plan, "first")
    broken()[case](tmp_path / "old")

    with pytest.raises(OutputError, match="old"):
        write(Walked(before).source, tmp_path / "new", plan, "second", update=tmp_path / "old")

    assert not list((tmp_path / "new").rglob("mdata.bin"))


def test_a_tree_is_not_updated_in_place(tmp_path: Path) -> None:
    plan, (before, _) = plan_of(16), walks(0, 0)
    write(Walked(before).source, tmp_path / "old", plan, "first")

    with pytest.raises(OutputError, match="in place"):
        write(Walked(before).source, tmp_path / "old", plan, "first", update=tmp_path / "old")
