"""Thinning a stored map block by block; the blocks' lines are those of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import Box
from neuroconn.tracing.distance_map import DistanceMap
from neuroconn.tracing.lines import Lines
from neuroconn.tracing.ridge import ridge_offsets
from neuroconn.tracing.thinning import LINE, OUTSIDE, UNKNOWN, reach, thin

HALO = 12
"""Voxels around a block that suffice nearly always; where they do not, more are read."""

Piece = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]
"""Voxels of lines, (n, 3); their distances, (n,); and offsets to the centreline, (n, 3)."""


def map_lines(
    source: DistanceMap,
    blocks: Iterable[Box],
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Lines:
    """Thin blocks and link what is left.

    Parameters
    ----------
    source : DistanceMap
        Of any size; what is held at once is a block for each worker, and the nodes of all lines.
    blocks : iterable of Box
        Parts of the map that do not overlap. How it is cut up does not matter: the lines are the
        same, node by node.
    workers : int
        Threads.
    progress : callable, optional
        Called with blocks done, and all blocks.

    Returns
    -------
    Lines
        Those of the whole map inside the blocks; they may hold loops and spurs.
    """
    todo = list(blocks)
    pieces: list[Piece] = []
    with ThreadPoolExecutor(workers) as pool:
        try:
            for piece in pool.map(lambda core: block_piece(source, core), todo):
                pieces.append(piece)
                if progress is not None:
                    progress(len(pieces), len(todo))
        except BaseException:  # an error or ctrl-c: the rest need not be thinned first
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    voxels, distance, offsets = (
        (
            np.concatenate([empty, *parts])
            for empty, parts in zip(_nothing(), zip(*pieces, strict=True), strict=True)
        )
        if pieces
        else _nothing()
    )
    return Lines.of_voxels(voxels, distance, offsets)


def block_piece(source: DistanceMap, core: Box, *, halo: int = HALO) -> Piece:
    """Thin one block, with as much around it as its lines depend on."""
    while True:
        box = core.grow(halo).clip(source.bounds)
        stored = source.read(box)
        levels = source.thinning_levels(stored)
        if (levels[core.within(box)] == OUTSIDE).all():
            return _nothing()
        state = thin(levels, start=box.start, open_faces=_open_faces(box, source.bounds))
        inner = state[core.within(box)]
        if not (inner == UNKNOWN).any():
            break
        halo = min(2 * halo + 2, reach(source.levels))
    voxels = np.argwhere(inner == LINE) + np.subtract(core.start, box.start)
    distance = source.encoding.decode(stored[tuple(voxels.T)])
    offsets = ridge_offsets(stored, voxels, source.encoding.decode)
    return voxels + np.asarray(box.start), distance, offsets.astype(np.float32)


def _open_faces(box: Box, bounds: Box) -> NDArray[np.bool_]:
    return np.stack([np.greater(box.start, bounds.start), np.less(box.stop, bounds.stop)], axis=1)


def _nothing() -> Piece:
    return (
        np.empty((0, 3), dtype=np.int64),
        np.empty(0, dtype=np.float32),
        np.empty((0, 3), dtype=np.float32),
    )
