"""Snakes: what a data loader makes of an annotation, and how a batch of them moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroconn.annotation import Graph
from neuroconn.loss.snake_energy import Stepper, stepper
from neuroconn.loss.snake_field import Field
from neuroconn.loss.snake_graph import CutGraph, cut
from neuroconn.loss.snake_render import Edges


@dataclass(frozen=True, slots=True)
class SnakeSettings:
    """How snakes are made and move; for the meaning see `neuroconn.loss.snake`."""

    tau: float
    alpha: float
    beta: float
    sigma: float
    external: float
    steps: int
    clip: float
    longest_edge: float
    context: bool

    def __post_init__(self) -> None:
        for name in ("tau", "sigma", "clip", "longest_edge"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} of a snake must be above 0, got {getattr(self, name)}")
        for name in ("alpha", "beta", "external", "steps"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} of a snake must be 0 or more, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, eq=False)
class Snake:
    """The annotation of one crop, ready to move: all that does not depend on a prediction."""

    shape: tuple[int, ...]
    """(z, y, x) voxels of the crop."""
    pieces: CutGraph
    """Nodes and edges in voxels of the crop."""
    stepper: Stepper
    """Inverse of the implicit step."""

    @classmethod
    def of(cls, graph: Graph, shape: Sequence[int], settings: SnakeSettings) -> Snake:
        """Cut, split and factorise an annotation; plain numpy, safe in threads."""
        pieces = cut(
            graph,
            shape,
            clip=settings.clip,
            longest_edge=settings.longest_edge,
            context=settings.context,
        )
        s = settings
        step = stepper(pieces.inner, pieces.free, tau=s.tau, alpha=s.alpha, beta=s.beta)
        return cls(tuple(shape), pieces, step)

    def graph(self, positions: NDArray[np.float64]) -> Graph:
        """Return the snake as a graph, with its nodes at other positions."""
        edges = np.concatenate([self.pieces.inner, self.pieces.outer])
        return Graph(positions, edges, self.pieces.radii)


class Snakes:
    """The snakes of a batch as one graph, whose nodes are numbered through.

    Parameters
    ----------
    snakes : sequence of Snake
        Of equal shape.
    like : Tensor
        Gives the dtype and the device of the computation.
    """

    def __init__(self, snakes: Sequence[Snake], like: Tensor) -> None:
        counts = [len(snake.pieces.positions) for snake in snakes]
        offsets = [0, *accumulate(counts)]
        parts = [snake.pieces for snake in snakes]
        self.counts = counts
        self.positions = torch.from_numpy(np.concatenate([p.positions for p in parts])).to(like)
        self._free = torch.from_numpy(np.concatenate([p.free for p in parts])).to(like.device)
        self._sample = torch.from_numpy(np.repeat(np.arange(len(counts)), counts)).to(like.device)
        self._inverse = _joined([snake.stepper for snake in snakes], offsets, like)
        drawn = [p.drawn for p in parts]
        self.edges = Edges(
            np.concatenate([edges + start for edges, start in zip(drawn, offsets, strict=False)]),
            first=[0, *accumulate(len(edges) for edges in drawn)],
        )

    def move(self, prediction: Tensor, settings: SnakeSettings) -> Tensor:
        """Positions (n, 3) after all steps, downhill on the prediction.

        Each step solves ``(I + tau A) s' = s - tau G(s)``; a coordinate that is not free stays.
        """
        positions = self.positions
        if not len(positions):
            return positions
        field = Field(prediction, sigma=settings.sigma, external=settings.external)
        for _ in range(settings.steps):
            force = field(self._sample, positions)
            pushed = torch.where(self._free, positions - settings.tau * force, positions)
            # Rows of coordinates that are not free are those of the identity.
            positions = torch.sparse.mm(self._inverse, pushed.reshape(-1, 1)).reshape(-1, 3)
        return positions


def _joined(steppers: Sequence[Stepper], offsets: Sequence[int], like: Tensor) -> Tensor:
    """Block-diagonal sparse matrix (3 n, 3 n)."""
    starts = [3 * start for start in offsets[:-1]]
    rows = [s.rows + start for s, start in zip(steppers, starts, strict=True)]
    columns = [s.columns + start for s, start in zip(steppers, starts, strict=True)]
    index = np.stack([np.concatenate(rows), np.concatenate(columns)])
    return torch.sparse_coo_tensor(
        torch.from_numpy(index),
        torch.from_numpy(np.concatenate([s.values for s in steppers])),
        (3 * offsets[-1],) * 2,
        check_invariants=False,
        is_coalesced=True,
    ).to(like)
