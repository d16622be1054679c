"""Kill the writer anywhere: the same call finishes the same tree."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.geometry import Box
from neuroconn.vaa3d import files, journal, making, terafly
from neuroconn.vaa3d.plan import TeraflyOptions, TeraflyPlan
from neuroconn.vaa3d.terafly import TeraflyReport, write_terafly

SHAPE = (40, 50, 70)
PLAN = TeraflyPlan(SHAPE, "uint16", options=TeraflyOptions(tile=20))


def volume() -> NDArray[np.uint16]:
    values = np.random.default_rng(3).integers(0, 60000, SHAPE, dtype=np.uint16)
    values[:20, :20, :20] = 0  # empty at level 0
    values[20:, :, 60:] = 0
    return values


VOLUME = volume()


def read(box: Box) -> NDArray[np.uint16]:
    return VOLUME[box.slices]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("whole") / "out"
    write_terafly(read, output, PLAN)
    return tree(output)


class Killed(BaseException):
    """Stands for the process ending here: nothing in the writer may catch it."""


@contextmanager
def killed_at(step: int, torn: int) -> Iterator[None]:
    """End the run at the ``step``-th file operation, ``torn`` bytes into a write."""
    count = 0

    def failing(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                for path in args[:1]:
                    if isinstance(path, Path) and path.suffix == ".tif" and call is write_tile:
                        path.write_bytes(b"\x00" * torn)
                raise Killed
            return call(*args, **kwargs)

        return wrapped

    write_tile = making.write_tile
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "write_tile", failing(write_tile))
        patch.setattr(making, "publish", failing(making.publish))
        patch.setattr(files, "publish", failing(files.publish))
        patch.setattr(journal.TileJournal, "record", failing(journal.TileJournal.record))
        patch.setattr(terafly.shutil, "rmtree", failing(terafly.shutil.rmtree))
        with suppress(Killed):
            yield


def check_unfinished(output: Path, tiles: int) -> None:
    """Nothing temporary in a level; a table only where no tile is missing."""
    for path in output.glob("RES*/**/*"):
        assert path.is_dir() or path.suffix == ".tif" or path.name in {"mdata.bin", ".iim.format"}
    if list(output.rglob("mdata.bin")):
        assert len(list(output.rglob("*.tif"))) == tiles


def finish(output: Path) -> TeraflyReport:
    return write_terafly(read, output, PLAN)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kills=st.lists(st.integers(1, 120), min_size=1, max_size=4),
    torn=st.integers(0, 3000),
    cut=st.integers(0, 40),
)
def test_a_run_killed_anywhere_resumes_to_the_same_tree(
    kills: list[int],
    torn: int,
    cut: int,
    uninterrupted: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    output = tmp_path_factory.mktemp("killed") / "out"
    tiles = sum(name.endswith(".tif") for name in uninterrupted)
    for step in kills:
        with killed_at(step, torn):
            finish(output)
        check_unfinished(output, tiles)
        record = output / ".partial" / "journal"
        if record.exists():  # a crash may also lose the end of the journal
            record.write_bytes(record.read_bytes()[: max(0, record.stat().st_size - cut)])

    finish(output)

    assert tree(output) == uninterrupted


def test_a_run_killed_at_any_single_step_resumes_to_the_same_tree(tmp_path: Path) -> None:
    small = TeraflyPlan((10, 20, 20), "uint16", options=TeraflyOptions(tile=10))

    def run(name: str) -> None:
        write_terafly(lambda box: VOLUME[20:30, 20:40, 20:40][box.slices], tmp_path / name, small)

    run("whole")
    # The record, 4 tiles of 4 operations and one of 3, what tiles are made of, 2 x 2 files of the
    # levels, clearing up.
    last = 1 + 16 + 3 + 1 + 4 + 1
    for step in range(1, last + 2):
        with killed_at(step, 100):
            run(f"step {step}")
        unfinished = tree(tmp_path / f"step {step}") != tree(tmp_path / "whole")
        assert unfinished == (step <= last)
        run(f"step {step}")
        assert tree(tmp_path / f"step {step}") == tree(tmp_path / "whole")


def test_a_finished_run_computes_nothing_again(tmp_path: Path) -> None:
    finish(tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}

    def forbidden(box: Box) -> NDArray[np.uint16]:
        raise AssertionError(box)

    report = write_terafly(forbidden, tmp_path / "out", PLAN)

    assert (report.written, report.kept) == (0, PLAN.tile_count)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == before


def test_a_resumed_run_makes_only_what_was_missing(tmp_path: Path) -> None:
    asked: list[Box] = []

    def counting(box: Box) -> NDArray[np.uint16]:
        asked.append(box)
        if len(asked) == 8:
            raise Killed
        return read(box)

    with pytest.raises(Killed):
        write_terafly(counting, tmp_path / "out", PLAN)
    report = write_terafly(counting, tmp_path / "out", PLAN)

    assert report.kept == 7
    assert len(asked) == len(PLAN.tilings[0]) + 1
    assert len(set(asked)) == len(PLAN.tilings[0])


def test_a_tile_that_lost_bytes_is_written_again(
    tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    output = tmp_path / "out"
    with killed_at(60, 0):
        finish(output)
    victim = sorted(output.glob("RES*/**/*.tif"))[0]
    victim.write_bytes(victim.read_bytes()[:-100])

    finish(output)

    assert tree(output) == uninterrupted


def test_processes_killed_at_20_random_moments_leave_the_same_tree(tmp_path: Path) -> None:
    script = Path(__file__).with_name("killing.py")
    command = [sys.executable, script, tmp_path, "20"]

    ended = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True
    )

    found = json.loads(ended.stdout)
    assert found["kills"] == 20
    uninterrupted = tree(tmp_path / "0")
    for number in range(1, found["trees"]):
        assert tree(tmp_path / str(number)) == uninterrupted


@pytest.mark.parametrize("lost", ["block", "tile"])
def test_what_disappears_between_runs_is_made_again(
    lost: str, tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    output = tmp_path / "out"
    with killed_at(30, 0):
        finish(output)
    pattern = ".partial/*.block" if lost == "block" else "RES*/**/*.tif"
    victims = sorted(output.glob(pattern))
    assert victims
    victims[0].unlink()
    victims[-1].write_bytes(b"cut off")

    finish(output)

    assert tree(output) == uninterrupted
