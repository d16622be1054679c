"""The frontier in plain Python, as ``DESIGN.md`` says it: slow, and right at a glance.

The package runs ``frontier_kernel.py``; the tests hold the two against each other, down to the
order in which chunks are handed out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from neuroconn.geometry import DIRECTIONS, ZYX, ChunkGrid
from neuroconn.inference.verdict import Verdict

ALL = (1 << 26) - 1


class PlainFrontier:
    """As :class:`neuroconn.inference.frontier.frontier.Frontier`, in dictionaries."""

    def __init__(
        self,
        grid: ChunkGrid,
        seeds: Iterable[ZYX],
        *,
        bridge: int = 0,
        masked: Iterable[ZYX] = (),
        through_failed: str = "all",
    ) -> None:
        self.grid = grid
        self.bridge = bridge
        self.through = through_failed
        self.state = dict.fromkeys(grid, "unexplored") | dict.fromkeys(masked, "masked")
        self.level = dict.fromkeys(grid, 0)
        """Best budget + 1 a chunk was reached with."""
        self.verdicts: dict[ZYX, Verdict] = {}
        self.gave_up: set[ZYX] = set()
        self.conflicts: list[ZYX] = []
        self.waiting: list[tuple[int, int, ZYX]] = []
        self.add_seeds(seeds)

    def add_seeds(self, indices: Iterable[ZYX]) -> list[ZYX]:
        return [n for i in indices for n in self._spread([(i, self.bridge + 1)], 0)]

    def add_probes(self, indices: Iterable[ZYX]) -> list[ZYX]:
        fresh = [i for i in indices if self.state[i] == "unexplored"]
        for index in fresh:
            self._queue(index, 0)
        return fresh

    def take(self, n: int) -> list[ZYX]:
        taken: list[ZYX] = []
        for entry in sorted(self.waiting):
            index = entry[2]
            if len(taken) < n:
                self.waiting.remove(entry)
                if self.state[index] == "queued":
                    self.state[index] = "in_flight"
                    taken.append(index)
        return taken

    def record(self, index: ZYX, verdict: Verdict) -> list[ZYX]:
        if self.state[index] == "masked":
            return []
        known = self.verdicts.get(index)
        if known and index not in self.gave_up:
            same = (known.neurite, known.strong, known.weak)
            if same != (verdict.neurite, verdict.strong, verdict.weak):
                self.conflicts.append(index)
            self.state[index] = "neurite" if known.neurite else "empty"
            return []
        self.gave_up.discard(index)
        self.verdicts[index] = verdict
        self.state[index] = "neurite" if verdict.neurite else "empty"
        return self._expand(index, verdict.voxels)

    def fail(self, index: ZYX) -> list[ZYX]:
        if self.state[index] in ("neurite", "empty", "masked"):
            return []
        self.state[index] = "failed"
        if index in self.verdicts:
            return []
        self.gave_up.add(index)
        self.verdicts[index] = Verdict(False, 0, 0 if self.through == "none" else ALL, 0)
        return self._expand(index, 0)

    def requeue(self, index: ZYX) -> None:
        if self.state[index] != "queued":
            self._queue(index, 0)

    def _expand(self, index: ZYX, evidence: int) -> list[ZYX]:
        verdict = self.verdicts[index]
        if verdict.neurite:
            self.level[index] = self.bridge + 1
        work = [(n, self.bridge + 1) for n in self._neighbours(index, verdict.strong)]
        work += self._weak(index, verdict.weak & ~verdict.strong)
        return self._spread(work, evidence)

    def _weak(self, index: ZYX, mask: int) -> list[tuple[ZYX, int]]:
        level = self.level[index]
        across = index in self.gave_up and self.through == "all" and level > self.bridge
        passed = level if across else level - 1
        return [(n, passed) for n in self._neighbours(index, mask)] if passed > 0 else []

    def _spread(self, work: Iterable[tuple[ZYX, int]], evidence: int) -> list[ZYX]:
        fresh: list[ZYX] = []
        todo = deque(work)
        while todo:
            index, level = todo.popleft()
            if level <= self.level[index] or self.state[index] == "masked":
                continue
            self.level[index] = level
            if self.state[index] == "unexplored":
                self._queue(index, evidence)
                fresh.append(index)
            elif index in self.verdicts:
                todo.extend(self._weak(index, self.verdicts[index].weak))
        return fresh

    def _queue(self, index: ZYX, evidence: int) -> None:
        self.state[index] = "queued"
        self._order = getattr(self, "_order", 0) + 1
        self.waiting.append((-evidence, self._order, index))

    def _neighbours(self, index: ZYX, mask: int) -> list[ZYX]:
        z, y, x = index
        moved = [(z + a, y + b, x + c) for k, (a, b, c) in enumerate(DIRECTIONS) if mask >> k & 1]
        return [n for n in moved if n in self.grid]
