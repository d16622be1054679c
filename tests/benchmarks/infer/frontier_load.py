"""How many chunks a second the frontier decides on, and how much memory it takes.

``python tests/benchmarks/infer/frontier_load.py --grid 200 200 250 --visit 1000000`` walks alone,
with verdicts that cost nothing, and prints a JSON object. A decision is one chunk handed out, its
verdict recorded, and the chunks queued that it opens.

* ``neurites``: 3 to 5 of the 26 neighbours have evidence, from 2000 seeds; batches of 16.
* ``one_by_one``: the same, a chunk at a time.
* ``all_neighbours``: every verdict opens all 26, the worst case.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time

from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.verdict import Verdict

KINDS = 4096
BATCH = 16
ALL = (1 << 26) - 1


def neurites() -> list[Verdict]:
    """Verdicts of chunks that neurites run through."""
    rng = random.Random(0)
    masks = [sum(1 << k for k in rng.sample(range(26), rng.randint(3, 5))) for _ in range(KINDS)]
    return [Verdict(True, mask, mask, rng.randrange(1, 5000)) for mask in masks]


def decide(counts: ZYX, visit: int, verdicts: list[Verdict], seeds: int, batch: int) -> float:
    """Walk until ``visit`` chunks are decided; returns decisions per second of processor time."""
    rng = random.Random(1)
    grid = ChunkGrid(counts, (1, 1, 1))
    frontier = Frontier(grid, [grid.unravel(rng.randrange(len(grid))) for _ in range(seeds)])
    many, some = frontier.record_many, len(verdicts)
    done, start = 0, time.process_time()
    while done < visit and (taken := frontier.take(batch)):
        many([((z, y, x), verdicts[(7 * z + 31 * y + x) % some]) for z, y, x in taken])
        done += len(taken)
    return done / (time.process_time() - start)


def peak_mb() -> float:
    """Largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def measure(counts: ZYX, visit: int) -> dict[str, float]:
    """Run all walks, the largest last."""
    Frontier(ChunkGrid((1, 1, 1), (1, 1, 1)), [(0, 0, 0)]).record((0, 0, 0), neurites()[0])
    found = {"imports_mb": peak_mb()}
    found["one_by_one"] = decide(counts, visit // 10, neurites(), 2000, 1)
    found["all_neighbours"] = decide(counts, visit // 10, [Verdict(True, ALL, ALL, 5)], 1, BATCH)
    found["neurites"] = decide(counts, visit, neurites(), 2000, BATCH)
    return {**found, "peak_mb": peak_mb()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--grid", type=int, nargs=3, default=(200, 200, 250))
    parser.add_argument("--visit", type=int, default=1_000_000)
    options = parser.parse_args()
    print(json.dumps(measure(tuple(options.grid), options.visit)))
