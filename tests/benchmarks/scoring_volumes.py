"""A model on real volumes: labelled planes, and a volume in which there is nothing to find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from neuroconn import ChunkGrid, convert, evaluate, infer, open_image, open_volume
from neuroconn.config.infer import InferSettings
from neuroconn.errors import UsageError
from neuroconn.evaluation import Scores
from neuroconn.geometry import ZYX
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.verdict import Verdict

WALKS = 100
THRESHOLD = SLACK = 3.0


@dataclass(frozen=True, slots=True)
class Wandering:
    """How far walks go from random seeds where there are no neurites."""

    chunk: int
    chunks: int
    """Chunks of the grid."""
    near: float
    """Share of all voxels predicted nearer than 3."""
    neurite: int
    """Chunks whose verdict is neurite."""
    stayed: int
    """Walks that ended within the 26 neighbours of their seed chunk, of 100."""
    visited: tuple[int, int, int]
    """Median, 90th percentile and largest number of chunks a walk visited."""


def score_planes(
    image: Path,
    label: Path,
    folder: Path,
    *,
    model: str,
    value: int,
    planes: Sequence[int] = (),
    **how: Any,
) -> Scores:
    """Convert, infer every chunk, and score the labelled planes in 2D.

    Parameters
    ----------
    image, label : path
        TIFF volumes of one shape; 0 in the label means that nobody looked.
    folder : path
        Where the brain and the map go.
    model : str
        Folder or name.
    value : int
        Label of neurites.
    planes : sequence of int, optional
        Which to score; by default those more than half labelled.
    **how
        As for :func:`infer_all`.
    """
    distance = infer_all(image, folder, model=model, **how)
    truth = folder / "planes.tif"
    tifffile.imwrite(truth, labelled(tifffile.imread(label), planes), compression="zlib")
    return evaluate(
        distance, truth, threshold=THRESHOLD, slack=SLACK, label=value, ignore=0, planes=True
    )


def labelled(label: NDArray[np.uint8], planes: Sequence[int] = ()) -> NDArray[np.uint8]:
    """Keep the labels of some planes: those given, or those more than half labelled.

    Examples
    --------
    >>> labelled(np.array([[[1, 0, 0]], [[1, 2, 0]]], np.uint8))[:, 0].tolist()
    [[0, 0, 0], [1, 2, 0]]
    """
    chosen = list(planes) or np.flatnonzero((label != 0).mean(axis=(1, 2)) > 0.5).tolist()
    if not chosen or not all(0 <= z < len(label) and label[z].any() for z in chosen):
        raise UsageError(f"planes {chosen} of {len(label)}: each must hold labels; see --planes")
    kept = np.zeros_like(label)
    kept[chosen] = label[chosen]
    return kept


def score_negative(image: Path, folder: Path, *, model: str, chunk: int, **how: Any) -> Wandering:
    """Infer every chunk of a volume without neurites, and walk it from random seeds.

    A verdict is a function of its chunk alone, so one dense inference holds every walk: they are
    replayed from its journal.
    """
    distance = infer_all(image, folder, model=model, chunk=chunk, **how)
    found = open_image(distance)
    grid = ChunkGrid(found.levels[0].shape, (chunk,) * 3)
    verdicts = {r.index: r.verdict for r in Journal.read(distance / "run").records()}
    near = float((open_volume(distance).to_numpy() < THRESHOLD).mean())
    seeds = random_chunks(grid, WALKS)
    walks = [visited(grid, verdicts, seed) for seed in seeds]
    sizes = np.percentile([len(walk) for walk in walks], (50, 90, 100)).astype(int).tolist()
    return Wandering(
        chunk=chunk,
        chunks=len(grid),
        near=near,
        neurite=sum(verdict.neurite for verdict in verdicts.values()),
        stayed=sum(stays(seed, walk) for seed, walk in zip(seeds, walks, strict=True)),
        visited=(sizes[0], sizes[1], sizes[2]),
    )


def infer_all(
    image: Path,
    folder: Path,
    *,
    model: str,
    chunk: int = 128,
    scheduler: str = "sync",
    threads: int | None = None,
) -> Path:
    """Convert a volume and predict all of it; return the map."""
    folder.mkdir(parents=True, exist_ok=True)
    brain, distance = folder / "brain.ome.zarr", folder / f"distance-{chunk}.ome.zarr"
    convert(image, brain)
    settings = InferSettings(chunk=chunk, inner_chunk=min(chunk, 64))
    infer(
        brain,
        distance,
        model=model,
        seed_source="all",
        settings=settings,
        scheduler=scheduler,
        threads=threads,
    )
    return distance


def random_chunks(grid: ChunkGrid, count: int) -> list[ZYX]:
    """Chunks of voxels drawn at random, the same every time."""
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, grid.shape, (count, 3)) // grid.chunk
    return [(int(z), int(y), int(x)) for z, y, x in voxels]


def visited(grid: ChunkGrid, verdicts: Mapping[ZYX, Verdict], seed: ZYX) -> set[ZYX]:
    """Return the chunks that a walk from ``seed`` visits, given every chunk's verdict."""
    frontier = Frontier(grid, [seed])
    while chunks := frontier.take(1):
        frontier.record(chunks[0], verdicts[chunks[0]])
    return {*frontier.chunks("neurite"), *frontier.chunks("empty")}


def stays(seed: ZYX, chunks: set[ZYX]) -> bool:
    """Whether all chunks are ``seed`` or one of its 26 neighbours.

    Examples
    --------
    >>> stays((1, 1, 1), {(1, 1, 1), (0, 0, 2)}), stays((1, 1, 1), {(1, 1, 3)})
    (True, False)
    """
    return all(max(abs(a - b) for a, b in zip(seed, c, strict=True)) <= 1 for c in chunks)
