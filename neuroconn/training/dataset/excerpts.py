"""The annotation near every crop, as rows of common arrays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from neuroconn.annotation import Graph, graph_near
from neuroconn.training.dataset.layout import write_rows
from neuroconn.training.dataset.plan import Plan


class Excerpts:
    """Graphs near the crops of a plan, made again whenever they are asked for."""

    def __init__(self, plan: Plan, graphs: Sequence[Graph], *, reach: float) -> None:
        self._plan, self._graphs, self._reach = plan, graphs, reach

    def __getitem__(self, number: int) -> Graph:
        whole = self._graphs[int(self._plan.brain[number])]
        return graph_near(whole, self._plan.box(number), reach=self._reach)

    @cached_property
    def offsets(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the nodes and the edges of each crop begin, and where the last ones end."""
        sizes = [(0, 0)]
        for number in range(len(self._plan)):
            near = self[number]
            sizes.append((len(near), len(near.edges)))
        nodes, edges = np.cumsum(np.asarray(sizes, dtype=np.int64), axis=0).T
        return nodes, edges

    def write(self, group: zarr.Group) -> None:
        """Write nodes, radii and edges, a stored object at a time."""
        nodes, radii, edges = (_Rows(group[name]) for name in ("nodes", "radii", "edges"))
        for number in range(len(self._plan)):
            near = self[number]
            nodes.add(near.positions)
            radii.add(near.radii)
            edges.add(near.edges)
        for rows in (nodes, radii, edges):
            rows.finish()


class _Rows:
    """Gathers rows until they fill a stored object."""

    def __init__(self, array: Any) -> None:
        self._array: zarr.Array[Any] = array
        self._per = (array.shards or array.chunks)[0]
        self._held: list[NDArray[Any]] = []
        self._count = self._written = 0

    def add(self, part: NDArray[Any]) -> None:
        self._held.append(part)
        self._count += len(part)
        while self._count >= self._per:
            joined = np.concatenate(self._held)
            self._write(joined[: self._per])
            self._held = [joined[self._per :]]
            self._count = len(self._held[0])

    def finish(self) -> None:
        if self._count:
            self._write(np.concatenate(self._held))

    def _write(self, rows: NDArray[Any]) -> None:
        write_rows(self._array, self._written, rows)
        self._written += len(rows)
