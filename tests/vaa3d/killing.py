"""Exports a small volume again and again, and kills the process that does at random moments.

``python killing.py FOLDER KILLS`` prints how many kills hit and how many trees were finished; a
tree that was killed is continued by the next process. Prints what is wrong and fails if a level
ever holds anything but tiles, or a table before its last tile.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

from neuroconn.vaa3d.plan import TeraflyOptions, TeraflyPlan
from neuroconn.vaa3d.terafly import write_terafly

SHAPE = (40, 50, 70)
PLAN = TeraflyPlan(SHAPE, "uint16", options=TeraflyOptions(tile=20, partition="balanced"))
VOLUME = np.random.default_rng(3).integers(0, 60000, SHAPE, dtype=np.uint16)
VOLUME[:20, :20, :20] = 0


def begin(output: Path) -> int:
    """Export in a process of its own, on two threads; return its number."""
    process = os.fork()
    if not process:
        write_terafly(lambda box: VOLUME[box.slices].copy(), output, PLAN, threads=2)
        os._exit(0)
    return process


def check_unfinished(output: Path, tiles: int) -> None:
    """Nothing temporary in a level; a table only where no tile is missing."""
    for path in output.glob("RES*/**/*"):
        assert path.is_dir() or path.suffix == ".tif" or path.name in {"mdata.bin", ".iim.format"}
    if list(output.rglob("mdata.bin")):
        assert len(list(output.glob("RES*/**/*.tif"))) == tiles


def main(folder: Path, wanted: int) -> None:
    """Kill ``wanted`` times, then let the last tree be finished."""
    chance = random.Random(0)
    began = time.monotonic()
    os.waitpid(begin(folder / "0"), 0)
    usual = time.monotonic() - began
    tiles = len(list((folder / "0").rglob("*.tif")))
    kills, tree = 0, 1
    while kills < wanted:
        process = begin(folder / str(tree))
        time.sleep(chance.uniform(0, usual / 2))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        if os.WIFSIGNALED(status):
            kills += 1
            check_unfinished(folder / str(tree), tiles)
        else:
            tree += 1
    os.waitpid(begin(folder / str(tree)), 0)
    print(json.dumps({"kills": kills, "trees": tree + 1}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
