"""How long a run of a million finished chunks takes to hand out the next one.

``prepare`` makes the run; ``python tests/benchmarks/infer/restart.py FOLDER`` resumes it in a
process of its own, as ``neuroconn infer`` would, and prints a JSON object: seconds from the start
of the process, imports included, to the first chunk that is submitted.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from workloads import no_network, untrained

from neuroconn.config.infer import EvidenceRules, InferSettings
from neuroconn.geometry import ChunkGrid, Frame, plan_levels
from neuroconn.inference.executors import Batch, SerialExecutor
from neuroconn.inference.journal.line import Record
from neuroconn.inference.run import infer
from neuroconn.volume.statistics import intensity_statistics, voxel_histogram
from neuroconn.volume.store import create_image

SIDE = 8
TINY = InferSettings(
    chunk=SIDE, inner_chunk=SIDE, halo=0, evidence=EvidenceRules(reliable=0), precision="float32"
)
REAL = 1100
"""Chunks at the end of the journal that are stored: a resumed run looks at the last thousand."""
LEFT = 1000
"""Chunks still to do."""


class ReachedError(Exception):
    """The run has come to its first task."""


def prepare(folder: Path, lines: int) -> ChunkGrid:
    """Make an empty brain of ``lines`` chunks and some more, and a run that has done that many."""
    rows = -(-(lines + LEFT) // 10_000)
    grid = ChunkGrid((SIDE * rows, SIDE * 100, SIDE * 100), (SIDE,) * 3)
    brain = create_image(
        folder / "brain.ome.zarr",
        levels=plan_levels(grid.shape, smallest=max(grid.shape)),
        dtype="uint16",
        frame=Frame((1.0, 1.0, 1.0)),
        chunk=64,
        shard=128,
        kind="brain",
    )
    seen = np.random.default_rng(0).integers(90, 110, (16, 16, 16)).astype(np.uint16)
    brain.update_attributes({"intensity": dict(intensity_statistics(voxel_histogram(seen)))})
    untrained(folder / "model")
    real = min(REAL, lines // 2)
    resume(folder, TINY.model_copy(update={"max_chunks": real}))
    journal = folder / "out.ome.zarr" / "run" / "journal.jsonl"
    last = journal.read_bytes()
    done = {Record.from_line(line).index for line in last.splitlines(keepends=True)}
    with journal.open("wb") as file:
        file.writelines(_lines(grid, lines - len(done), done))
        file.write(last)
    return grid


def _lines(grid: ChunkGrid, count: int, but: set[Any]) -> Iterator[bytes]:
    rng = random.Random(0)
    chunks = (index for index in grid if index not in but)
    for index, _ in zip(chunks, range(count), strict=False):
        strong = sum(1 << rng.randrange(26) for _ in range(4)) & (1 << 26) - 1
        neurite = rng.random() < 0.6
        yield Record(
            index,
            "neurite" if neurite else "empty",
            strong if neurite else 0,
            strong,
            voxels=rng.randrange(5000) if neurite else 0,
            digest=rng.getrandbits(32),
            seconds=rng.uniform(0.1, 3.0),
        ).to_line()


def resume(folder: Path, settings: InferSettings = TINY) -> None:
    """Go on with the run, in this process."""
    infer(
        folder / "brain.ome.zarr",
        folder / "out.ome.zarr",
        seed_source="all",
        model=folder / "model",
        settings=settings,
        scheduler="sync",
        predictor=no_network,
    )


def measure(folder: Path) -> dict[str, float]:
    """Resume the run up to its first task."""
    found: dict[str, float] = {}
    process = psutil.Process()

    def submit(executor: SerialExecutor, batch: Batch) -> None:
        cpu = process.cpu_times()
        found["seconds"] = time.time() - process.create_time()
        found["cpu_seconds"] = cpu.user + cpu.system
        found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        raise ReachedError

    with mock.patch.object(SerialExecutor, "submit", submit), suppress(ReachedError):
        resume(folder)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prepare", type=int, metavar="LINES")
    options = parser.parse_args()
    if options.prepare:
        prepare(options.folder, options.prepare)
    else:
        print(json.dumps(measure(options.folder)))
