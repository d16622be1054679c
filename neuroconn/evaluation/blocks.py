"""What one block of a volume adds to the scores, and which blocks there is anything in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from neuroconn.evaluation.choice import Choice
from neuroconn.evaluation.prediction import Prediction
from neuroconn.geometry import ZYX, Box, ChunkGrid
from neuroconn.metrics import CCQ, Betti, ClDice, Ranking, Segments, betti, ccq, cldice, skeleton
from neuroconn.metrics.balls import ball, painted
from neuroconn.metrics.truth import Truth

BLOCK = 192
"""Voxels scored at once, along each axis; a block takes some 300 MB at work."""

_THINNING_REACH = 32
"""Context for thinning: a mask cut at a block's face loses about its radius there."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of some blocks; they add up to those of the volume."""

    counts: CCQ = field(default_factory=CCQ)
    unexplored: int = 0
    """Voxels of the truth where nobody looked."""
    voxel: Ranking = field(default_factory=Ranking)
    cldice: ClDice = field(default_factory=ClDice)
    betti: Betti = field(default_factory=Betti)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.counts + other.counts,
            self.unexplored + other.unexplored,
            self.voxel + other.voxel,
            self.cldice + other.cldice,
            self.betti + other.betti,
        )


@dataclass(frozen=True, slots=True)
class Blocks:
    """A volume cut into blocks of which the empty ones are skipped."""

    volume: Box
    grid: ChunkGrid
    """Cores."""
    reach: int
    """Voxels of context around a core."""
    visited: tuple[ZYX, ...]
    """Cells of the grid with something predicted or true in them, in order."""

    def __len__(self) -> int:
        return len(self.visited)

    def __iter__(self) -> Iterator[tuple[Box, Box]]:
        for index in self.visited:
            core = self.grid.core(index)
            yield core, core.grow(self.reach).clip(self.volume)

    @property
    def skipped(self) -> int:
        """Voxels in blocks that are skipped: nobody looked there, and nothing is there."""
        return self.volume.size - sum(self.grid.voxels(index) for index in self.visited)


def blocks_of(
    prediction: Prediction, truth: Truth, choice: Choice, segments: Segments | None
) -> Blocks:
    """Cut the volume of a prediction into blocks.

    Their edge is a multiple of the window in which Betti numbers are compared, so that no window is
    cut.
    """
    reach = math.ceil(choice.slack)
    if choice.thin or truth.thinned or "cldice" in choice:
        reach += _THINNING_REACH
    reach = max(reach, math.ceil(choice.radius), segments.halo if segments else 0)
    edge = BLOCK
    if "betti" in choice:
        edge = choice.window * max(1, round(BLOCK / choice.window))
    grid = ChunkGrid(prediction.shape, (edge, edge, edge))
    there = set(prediction.explored(grid))
    there.update(truth.cells(grid, math.ceil(choice.radius) + 1))
    return Blocks(grid.bounds, grid, reach, tuple(sorted(there)))


def score_block(
    prediction: Prediction,
    truth: Truth,
    core: Box,
    block: Box,
    choice: Choice,
    segments: Segments | None = None,
) -> Tally:
    """Count in a core, given what is in the block around it."""
    stored = prediction.read(block)
    mask, lines, judged = prediction.mask(stored), truth.lines(block), truth.judged(block)
    if segments is not None:
        segments.add(mask, block, core)
    thinned = skeleton(mask) if choice.thin or "cldice" in choice else mask
    # what thinning needed beyond is done with
    near = core.grow(max(math.ceil(choice.slack), math.ceil(choice.radius))).clip(block)
    view, inner = near.within(block), core.within(near)
    stored, mask, lines, thinned = stored[view], mask[view], lines[view], thinned[view]
    judged = None if judged is None else judged[view]
    tube = painted(lines, ball(choice.radius, closed=False))
    tally = Tally(
        counts=ccq(
            thinned if choice.thin else mask, lines, slack=choice.slack, core=inner, judged=judged
        ),
        unexplored=int(np.count_nonzero(lines[inner] & prediction.unknown(stored[inner]))),
    )
    if "voxel" in choice:
        here = None if judged is None else judged[inner]
        tally += Tally(voxel=prediction.rank(stored[inner], tube[inner], here))
    if "cldice" in choice:
        pair = {"predicted_lines": thinned, "true_lines": lines}
        tally += Tally(cldice=cldice(mask, tube, core=inner, judged=judged, **pair))
    if "betti" in choice:
        sides = (mask[inner], tube[inner])
        if judged is not None:
            sides = (sides[0] & judged[inner], sides[1] & judged[inner])
        tally += Tally(betti=betti(*sides, window=choice.window))
    return tally
