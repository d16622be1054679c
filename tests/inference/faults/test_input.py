"""Damage in the brain: named, not stored, not tried in vain, and mended by putting a copy back."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes import CHUNKS, FIBRE, fibre, save_brain
from labs import AROUND, HARMS, SHARD, Lab, blank, cut, empty, flip, needing

from neuroconn.config.infer import AuditSettings
from neuroconn.errors import StorageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.inference.damage import BrainReader
from neuroconn.inference.output import verify
from neuroconn.volume.regions import read_region
from neuroconn.volume.store import open_image

HIT = Box((0, 32, 0), (32, 64, 32))
"""Voxels of the harmed shard: the fibre starts in it."""
OBJECT = "0/c/0/1/0"


@pytest.mark.parametrize("harm", HARMS)
def test_damage_fails_the_chunks_that_need_it_and_a_copy_put_back_mends_the_map(
    lab: Lab, harm: Callable[[Path], None]
) -> None:
    lab.convert()
    file = lab.brain / OBJECT
    lab.run("calm", **AROUND)
    copy = file.read_bytes()
    harm(file)

    report = lab.run(**AROUND)

    failed, around = lab.chunks("failed"), set(lab.records())
    assert failed <= needing(HIT) & around if harm is flip else failed == needing(HIT) & around
    assert failed
    assert report.exit_code == 1
    assert all(str(file) in reason for _, reason in report.failed)
    assert all(record.attempt == 1 for record in lab.records().values())
    assert not any((lab.output() / f"0/c/{z}/{y}/{x}").exists() for z, y, x in failed)
    assert verify.verify(lab.output()).sound
    again = lab.run(**AROUND)
    assert (again.inferred, again.chunks["failed"]) == (0, len(failed))

    file.write_bytes(copy)
    mended = lab.run(**AROUND, retry_failed=True)

    assert mended.complete
    assert mended.inferred == len(failed)
    assert lab.bytes() == lab.bytes("calm")


def test_a_walk_that_stops_at_damage_goes_on_to_the_calm_map(lab: Lab) -> None:
    lab.convert()
    lab.run("calm", settings={"through_failed": "none"})
    (lab.brain / OBJECT).rename(lab.folder / "kept")

    assert lab.run(settings={"through_failed": "none"}).chunks["failed"] == 1

    (lab.folder / "kept").rename(lab.brain / OBJECT)
    assert lab.run(settings={"through_failed": "none"}, retry_failed=True).complete
    assert lab.bytes() == lab.bytes("calm")


def test_a_fibre_is_found_behind_damage(lab: Lab) -> None:
    lab.convert()
    lab.run("calm")
    lab.run("dense", seeds=(), seed_source="all")
    (lab.brain / OBJECT).rename(lab.folder / "kept")

    report = lab.run()

    assert lab.chunks("neurite") == FIBRE - needing(HIT) != set()
    assert "failed" in report.exceptions[0]
    (lab.folder / "kept").rename(lab.brain / OBJECT)
    assert lab.run(retry_failed=True).complete
    # Chunks around the damage were looked at for nothing; they are what every run would make them.
    assert lab.voxels().items() <= lab.voxels("dense").items()
    assert lab.voxels("calm").keys() <= lab.voxels().keys()
    assert lab.chunks("neurite") == FIBRE


def test_a_seed_in_damage_fails_like_any_chunk(lab: Lab) -> None:
    lab.convert()
    cut(lab.brain / OBJECT)

    report = lab.run(settings={"through_failed": "none"})

    assert [index for index, _ in report.failed] == [(1, 2, 0)]
    assert str(lab.brain / OBJECT) in report.failed[0][1]


def test_damage_of_the_level_the_audit_looks_at_costs_no_map(lab: Lab) -> None:
    lab.convert()
    cut(lab.brain / "0/c/0/0/2")  # of so small a brain it looks at the finest level

    report = lab.run(settings={"audit": AuditSettings(probes=5, directed=5)})

    assert report.visited + report.chunks["failed"] > len(FIBRE)
    assert lab.chunks("neurite") >= FIBRE
    assert verify.verify(lab.output()).sound


def test_all_damage_that_a_tile_meets_is_named(lab: Lab) -> None:
    image = lab.convert()
    names = [lab.brain / "0/c" / name for name in ("0/0/0", "0/1/0", "1/1/0", "1/1/1")]
    for file, harm in zip(names, (empty, cut, Path.unlink, Path.unlink), strict=True):
        harm(file)
    tile = Box((8, 24, 8), (40, 56, 40))

    with pytest.raises(VolumeError) as caught:
        BrainReader(image, 0).read(tile, tile, "reflect")

    said = str(caught.value)
    assert all(str(file) in said for file in names[:3])
    assert f"{names[0]} is empty; " in said
    assert f"{names[2]} is missing, and the conversion wrote" in said
    assert said.endswith("; and 1 more")


def test_what_is_lost_shows_before_the_first_chunk(lab: Lab) -> None:
    lab.convert()
    (lab.brain / OBJECT).unlink()
    cut(lab.brain / "0/c/1/1/1")
    seen: list[str] = []

    lab.run(dry_run=True, header=lambda job, *_: seen.extend(job.warnings))

    assert f"the brain is damaged: {lab.brain / OBJECT} is missing" in seen[-1]
    assert "and 1 more" in seen[-1]


@pytest.mark.parametrize("harm", HARMS)
def test_filled_damage_is_the_map_of_a_brain_with_a_hole(
    lab: Lab, harm: Callable[[Path], None]
) -> None:
    image = lab.convert()
    harm(lab.brain / OBJECT)
    broken = BrainReader(image, 0, "fill").read(HIT, HIT, "edge")[0] == 0
    hole = fibre()
    hole[HIT.slices][broken] = 0

    report = lab.run(settings={"on_damage": "fill"}, **AROUND)

    assert report.complete
    assert "1 damaged objects of the brain were read as 0" in report.warnings[-1]
    assert str(lab.brain / OBJECT) in report.warnings[-1]
    assert '"damage read as fill"' in (lab.output() / "run/events.jsonl").read_text()
    # A flipped bit costs a chunk of the shard, everything else all of it.
    assert broken.sum() == (16**3 if harm is flip else SHARD**3)
    save_brain(lab.folder / "hole.zarr", hole)
    lab.brain = lab.folder / "hole.zarr"
    lab.run("hole", **AROUND)
    assert lab.voxels() == lab.voxels("hole")


def test_filling_is_part_of_what_a_run_is(lab: Lab) -> None:
    lab.convert()
    lab.run()

    with pytest.raises(ValueError, match='on_damage: "fail", now "fill"'):
        lab.run(settings={"on_damage": "fill"})


def test_what_a_foreign_brain_does_not_store_is_fill_and_counted(lab: Lab) -> None:
    save_brain(lab.folder / "foreign.zarr", fibre())
    save_brain(lab.folder / "hole.zarr", blank(fibre(), HIT))
    (lab.folder / "foreign.zarr" / OBJECT).unlink()

    lab.brain = lab.folder / "foreign.zarr"
    report = lab.run("foreign", **AROUND)
    lab.brain = lab.folder / "hole.zarr"
    lab.run("hole", **AROUND)

    assert report.complete
    assert lab.voxels("foreign") == lab.voxels("hole")
    said = f"{SHARD**3} voxels of 8 visited chunks lie in objects that the brain does not store"
    assert said in report.warnings[-1]


def test_what_the_converter_left_out_as_empty_is_no_gap(lab: Lab) -> None:
    lab.convert(blank(fibre(), Box((0, 0, 0), (32, 32, 32))))
    assert not (lab.brain / "0/c/0/0/0").exists()

    report = lab.run(seeds=(), seed_source="all")

    assert report.complete
    assert report.visited == CHUNKS
    assert report.warnings == ()


def flip_unseen(file: Path) -> None:
    """Flip a bit that the codec of the brain lets through: other voxels, and no error."""
    image, whole = open_image(file.parents[3]), file.read_bytes()
    box = Box((16, 32, 16), (32, 48, 32))
    voxels = read_region(image.array(0), box)
    for at in range(len(whole) - 1, 16, -1):
        flip(file, at)
        try:
            if not np.array_equal(read_region(image.array(0), box), voxels):
                return
        except VolumeError:
            pass
        file.write_bytes(whole)
    raise AssertionError("every flip was seen")


@pytest.mark.parametrize("harm", [flip_unseen, cut, empty, Path.unlink])
def test_the_older_format_has_no_checksums_but_the_records_do(
    lab: Lab, harm: Callable[[Path], None]
) -> None:
    lab.convert(zarr_format=2)
    lab.run("calm", settings={"through_failed": "none"})
    file = lab.brain / "0/1/2/1"
    copy = file.read_bytes()
    harm(file)

    lab.run(settings={"through_failed": "none"})

    assert lab.chunks("failed") == {(1, 2, 0)}
    file.write_bytes(copy)
    assert lab.run(settings={"through_failed": "none"}, retry_failed=True).complete
    assert lab.bytes() == lab.bytes("calm")


def test_a_brain_that_vanishes_stops_the_run_instead_of_going_dark(ready: Lab) -> None:
    # Without records, to which an absent object is as good as a dark one.

    def unmount(progress: object) -> None:
        if getattr(progress, "done", 0) == 2 and ready.brain.exists():
            ready.brain.rename(ready.folder / "elsewhere")

    with pytest.raises(StorageError, match=r"the brain .* is gone"):
        ready.run(progress=unmount)

    assert len(ready.records()) == 2
    (ready.folder / "elsewhere").rename(ready.brain)
    assert ready.run().complete
    assert ready.bytes() == ready.bytes("calm")


def test_a_brain_replaced_in_mid_run_is_noticed(ready: Lab) -> None:
    save_brain(ready.folder / "other", fibre() + 1)

    def replace(progress: object) -> None:
        if getattr(progress, "done", 0) == 2 and (ready.folder / "other").exists():
            ready.brain.rename(ready.folder / "mine")
            (ready.folder / "other").rename(ready.brain)

    with pytest.raises(StorageError, match="not the one this run started with"):
        ready.run(progress=replace)

    shutil.rmtree(ready.brain)
    (ready.folder / "mine").rename(ready.brain)
    assert ready.run().complete
    assert ready.bytes() == ready.bytes("calm")


def test_metadata_of_the_brain_that_break_in_mid_run_stop_it(ready: Lab) -> None:
    file = ready.brain / "zarr.json"
    whole = file.read_bytes()

    with pytest.raises(StorageError, match="not the one this run started with"):
        ready.run(progress=lambda now: file.write_bytes(b"{") if now.done == 2 else None)

    file.write_bytes(whole)
    assert ready.run().complete
    assert ready.bytes() == ready.bytes("calm")


def test_new_notes_in_the_metadata_do_not_make_another_brain(lab: Lab) -> None:
    image = save_brain(lab.brain, fibre())

    report = lab.run(progress=lambda _: image.set_window(1, 2, low=0, high=9))

    assert report.complete
    assert report.visited == len(FIBRE)


def test_a_worker_refuses_a_brain_that_is_not_the_clients(lab: Lab) -> None:
    image = save_brain(lab.brain, fibre())

    def other(*_: object) -> None:  # after the plan was made, before the worker opens the brain
        image.update_attributes({"intensity": {"percentiles": {}}})

    with pytest.raises(VolumeError, match="not the brain this run started with"):
        lab.run(header=other)


def test_an_error_that_may_pass_is_tried_again(ready: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = BrainReader.read, []

    def stale(self: BrainReader, *arguments: object) -> object:
        calls.append(arguments)
        if len(calls) in (2, 3):
            raise VolumeError("cannot read") from OSError(116, "Stale file handle")
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(BrainReader, "read", stale)

    assert ready.run().complete
    assert len(calls) == len(FIBRE) + 2
    assert ready.bytes() == ready.bytes("calm")


def test_reading_through_the_reader_is_reading(lab: Lab) -> None:
    image = save_brain(lab.brain, fibre())
    for start in ((-8, -8, -8), (30, 50, 70), (8, 8, 8)):
        tile = Box(start, tuple(a + 32 for a in start))  # type: ignore[arg-type]
        for pad in ("reflect", "symmetric", "edge", "constant"):
            found, gaps = BrainReader(image, 0).read(tile, tile, pad)  # type: ignore[arg-type]
            np.testing.assert_array_equal(found, read_region(image.array(0), tile, pad=pad))  # type: ignore[arg-type]
            assert not gaps
