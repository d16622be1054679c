"""A whole virtual brain in which neurites are sparse, and a network that knows the truth.

Nothing of it is stored: a tile's prediction is the exact distance to the straight pieces of its
neurons, and the real rules make the verdict of it. Verdicts are kept, being pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Forest
from neuroconn.config.infer import AuditSettings, EvidenceRules
from neuroconn.geometry import ZYX, Box, ChunkGrid, Frame, Level
from neuroconn.inference.audit import Audit, Round, conclude
from neuroconn.inference.encoding import Encoding
from neuroconn.inference.executors import SerialExecutor
from neuroconn.inference.exploration import probe
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.seeds.bright import chunk_scores
from neuroconn.inference.task import Outcome
from neuroconn.inference.verdict import ALL_DIRECTIONS, Verdict, assess
from neuroconn.inference.walk import Walk
from neuroconn.inference.watching.events import EventLog
from neuroconn.phantom import Growth, Phantom, grow
from neuroconn.phantom.items import Centrelines
from neuroconn.volume.regions import write_region
from neuroconn.volume.store import create_image

CLIP = 10.0


@dataclass
class SparseBrain:
    """Neurons as straight pieces, and what tiles of them say."""

    grid: ChunkGrid
    halo: int
    rules: EvidenceRules
    forests: list[Forest]
    gaps: float = 0.0
    """Share of the length that the network does not see."""
    gap_lengths: tuple[float, float] = (10.0, 80.0)
    """Voxels, evenly distributed."""
    known: dict[ZYX, Verdict] = field(default_factory=dict)

    def __post_init__(self) -> None:
        segments = [f.segments for f in self.forests]
        self.start = np.concatenate([s[:, 0] for s in segments])
        self.stop = np.concatenate([s[:, 1] for s in segments])
        self.neuron = np.repeat(np.arange(len(segments)), [len(s) for s in segments])
        self.seen = np.concatenate(
            [self._unbroken(f, np.random.default_rng([1, n])) for n, f in enumerate(self.forests)]
        )
        self.lines = Centrelines(self.start[self.seen], self.stop[self.seen])
        self.index = self.lines.index(CLIP + 1)
        middle = np.floor((self.start + self.stop) / 2 + 0.5).astype(int)
        self.inside = ((middle >= 0) & (middle < self.grid.shape)).all(axis=1)
        self.owner = middle // self.grid.chunk
        self.length = np.linalg.norm(self.stop - self.start, axis=1)

    def _unbroken(self, forest: Forest, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Break a neuron: from random nodes, a random length towards the root is dark."""
        number = np.full(len(forest), -1)
        number[forest.edges[:, 0]] = np.arange(len(forest.edges))
        length = np.linalg.norm(np.diff(forest.segments, axis=1)[:, 0], axis=1)
        seen = np.ones(len(length), bool)
        while length[~seen].sum() < self.gaps * length.sum():
            node, left = int(rng.integers(len(forest))), rng.uniform(*self.gap_lengths)
            while left > 0 and number[node] >= 0:
                left -= length[number[node]]
                seen[number[node]] = False
                node = int(forest.parents[node])
        return seen

    def verdict(self, index: ZYX) -> Verdict:
        """What the tile of a chunk says, from what can be seen in it."""
        if index not in self.known:
            self.known[index] = self._assess(index)
        return self.known[index]

    def _assess(self, index: ZYX) -> Verdict:
        trim = self.rules.reliable
        tile = self.grid.tile(index, self.halo).grow(-trim)
        items = self.index.query(tile)
        if not len(items):
            return Verdict(False, 0, ALL_DIRECTIONS, 0)
        z, y, x = tile.start
        there = (-z, -y, -x)
        codes = Encoding("uint8", CLIP)
        distance = codes.decode(codes.encode(self.lines.distance(tile, items, CLIP)))
        core, bounds = self.grid.core(index).shift(there), self.grid.bounds.shift(there)
        return assess(distance, core, bounds, self.rules.model_copy(update={"reliable": 0}))

    def positives(self) -> list[ZYX]:
        """All chunks whose verdict is neurite."""
        reach = int(self.rules.core_threshold) + 1
        near = (i for i in self.grid if len(self.index.query(self.grid.core(i).grow(reach))))
        return [i for i in near if self.verdict(i).neurite]

    def true_chunks(self) -> set[ZYX]:
        """All chunks that own a piece of neurite, visible or not."""
        return {(int(z), int(y), int(x)) for z, y, x in np.unique(self.owner[self.inside], axis=0)}

    def roots(self, neurons: Sequence[int]) -> list[ZYX]:
        """Chunks of the somata of some neurons."""
        places = (self.forests[n].positions[self.forests[n].roots[0]] for n in neurons)
        return [self.grid.index_of((int(z), int(y), int(x))) for z, y, x in places]

    def recall(self, visited: set[ZYX], *, of: NDArray[np.bool_] | None = None) -> float:
        """Share of the centreline's length that lies in visited chunks."""
        counted = self.inside if of is None else self.inside & of
        there = np.array([tuple(c) in visited for c in self.owner[counted].tolist()])
        length = self.length[counted]
        return float(length[there].sum() / length.sum())

    def scores(self, folder: Path, factor: int = 8) -> NDArray[np.float32]:
        """How chunks look from afar: the same neurons drawn at a coarse level, tissue and noise."""
        z, y, x = (-(-n // factor) for n in self.grid.shape)
        forests = [_visible(f, self.seen[self.neuron == n]) for n, f in enumerate(self.forests)]
        small = [replace(f, positions=f.positions / factor) for f in forests]
        phantom = Phantom((z, y, x), small, seed=2)
        whole = Level(self.grid.shape, (1, 1, 1), (1, 1, 1))
        levels = [whole, Level((z, y, x), (factor,) * 3, (factor,) * 3)]
        image = create_image(
            folder,
            levels=levels,
            dtype="uint16",
            frame=Frame((1.0, 1.0, 1.0)),
            chunk=64,
            shard=128,
            kind="brain",
        )
        for index in (coarse := image.grid(1)):
            core = coarse.core(index)
            write_region(image.array(1), core, phantom.image(core))
        return chunk_scores(image, self.grid)


def _visible(forest: Forest, seen: NDArray[np.bool_]) -> Forest:
    """Only the pieces that are seen, as trees of their own."""
    parents = forest.parents.copy()
    parents[forest.edges[~seen, 0]] = -1
    linked = parents >= 0
    linked[parents[linked]] = True
    number = np.cumsum(linked) - 1
    kept = parents[linked]
    return Forest(forest.positions[linked], np.where(kept >= 0, number[kept], -1))


def grow_brain(
    shape: ZYX,
    neurons: int,
    length: float,
    *,
    chunk: int,
    halo: int,
    rules: EvidenceRules,
    gaps: float,
) -> SparseBrain:
    """Neurons all over a brain, so that many share no chunk with another."""
    rng = np.random.default_rng(0)
    growth = Growth(length=length, persistence=200.0, branching=0.008)
    roots = rng.uniform(0.1, 0.9, (neurons, 3)) * shape
    bounds = Box.of_shape(shape)
    forests = [grow(growth, rng, root=tuple(root), bounds=bounds) for root in roots]
    return SparseBrain(ChunkGrid(shape, (chunk,) * 3), halo, rules, forests, gaps)


@dataclass(frozen=True)
class Explored:
    """How a walk over a sparse brain ended."""

    visited: set[ZYX]
    executed: int
    before_audit: set[ZYX]
    audit: Audit | None


def explore(
    brain: SparseBrain,
    seeds: Sequence[ZYX],
    folder: Path,
    settings: AuditSettings,
    scores: NDArray[np.float32] | None = None,
    run_id: str = "run",
) -> Explored:
    """Walk and audit with the real loop; only the network is not real."""

    def run(index: ZYX, attempt: int) -> Outcome:
        return Outcome(index, brain.verdict(index), 0, attempt, seconds=0.01)

    frontier = Frontier(brain.grid, seeds)
    rounds: list[Round] = []
    with Journal.create(folder / "run", {"grid": brain.grid}) as journal:
        events = EventLog(folder / "events.jsonl")
        walk = Walk(frontier, SerialExecutor(run), journal, events)
        walk.run()
        before = visited(frontier)
        if scores is not None:
            probe(
                walk, frontier, settings, rounds,
                run_id=run_id, scores=lambda: scores, store=lambda _: None,
            )  # fmt: skip
    audit = conclude(rounds, frontier, settings.confidence)
    return Explored(visited(frontier), walk.tally.inferred, before, audit)


def visited(frontier: Frontier) -> set[ZYX]:
    return {*frontier.chunks("neurite"), *frontier.chunks("empty")}
