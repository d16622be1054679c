"""From forests to things that can be drawn: fibres, balls and centrelines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from neuroconn.annotation import Forest
from neuroconn.geometry import Box
from neuroconn.phantom.curves import STEP, Curve, brightness_walk, curve
from neuroconn.phantom.hashing import uniforms
from neuroconn.phantom.items import REACH, Balls, Centrelines, Fibres
from neuroconn.phantom.settings import Neurites, Optics, Tissue

Arrays = dict[str, NDArray[np.float64]]

_CORRELATION = 60.0
_FADE = 1500.0
_CELL_PITCH = 48
_GAP_STREAM, _BEAD_STREAM, _CELL_STREAM = 50, 51, 52
_DENDRITES = (3, 4)


@dataclass(frozen=True)
class Scene:
    """What a phantom is made of, built once and small enough to send to every worker."""

    fibres: Fibres
    balls: Balls
    centrelines: Centrelines


def build(
    forests: Sequence[Forest],
    styles: Sequence[Neurites],
    optics: Optics,
    *,
    tortuosity: float,
    seed: int,
) -> Scene:
    """Turn annotated neurons into drawable items.

    Parameters
    ----------
    forests : sequence of Forest
        One per neuron, positions in voxels.
    styles : sequence of Neurites
        How each neuron looks.
    optics : Optics
        Blur.
    tortuosity : float
        Wandering of the curves, in voxels.
    seed : int
        Every random choice is keyed by (seed, number of the neuron).
    """
    fibres: list[Arrays] = []
    balls: list[Arrays] = []
    lines: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    for number, (forest, style) in enumerate(zip(forests, styles, strict=True)):
        rng = np.random.default_rng([seed, number])
        # A fibre far out of focus needs no more pieces than its blur can tell apart.
        step = max(STEP, style.blur)
        bend = curve(forest, tortuosity=tortuosity, seed=seed, step=step)
        glow = _glow(bend, style, rng)
        if style.labelled:
            lines.append(_centrelines(bend, glow, style))
        fibres.append(_fibres(bend, glow, style, optics, seed, number, rng))
        balls.extend(_balls(bend, glow, style, seed, number, rng))
    return Scene(
        Fibres(**_joined(fibres, {"start": 3, "stop": 3, "amplitude": 0, "sigma": 3})),
        _make_balls(balls, optics),
        Centrelines(
            np.concatenate([a for a, _ in lines] or [np.zeros((0, 3))]),
            np.concatenate([b for _, b in lines] or [np.zeros((0, 3))]),
        ),
    )


def distractors(box: Box, tissue: Tissue, optics: Optics, seed: int) -> list[Balls]:
    """Unlabelled cells and specks whose support may reach into ``box``, in a fixed order."""
    widest = max(tissue.cell_radius[1], tissue.puncta_radius[1])
    reach = box.grow(math.ceil(widest + REACH * math.hypot(widest, *optics.psf)) + 1)
    cells = _scatter(reach, tissue.cells, tissue.cell_brightness, tissue.cell_radius, 0, seed)
    specks = _scatter(
        reach, tissue.puncta, tissue.puncta_brightness, tissue.puncta_radius, 10, seed
    )
    return [
        Balls(**drawn, psf=optics.psf, hard=np.full(len(drawn["radius"]), hard))
        for drawn, hard in ((cells, True), (specks, False))
    ]


def _scatter(
    box: Box, density: float, brightness: float, radius: tuple[float, float], kind: int, seed: int
) -> Arrays:
    """Draw the balls of the 48-voxel lattice cells ``box`` meets, each from its place alone."""
    axes = [
        np.arange(a // _CELL_PITCH, (b - 1) // _CELL_PITCH + 1)
        for a, b in zip(box.start, box.stop, strict=True)
    ]
    place = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    key = (place[:, 0] << 42) ^ ((place[:, 1] & 0x1FFFFF) << 21) ^ (place[:, 2] & 0x1FFFFF)
    stream = _CELL_STREAM + kind
    expected = density * _CELL_PITCH**3
    count = _poisson(uniforms(seed, stream, key, np.zeros_like(key)), expected)
    owner = np.repeat(np.arange(len(key)), count)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)

    def draw(what: int) -> NDArray[np.float64]:
        return uniforms(seed, stream + what, key[owner], rank)

    within = np.stack([draw(1), draw(2), draw(3)], axis=1)
    normal = np.sqrt(-2 * np.log(draw(5))) * np.cos(2 * np.pi * draw(6))
    return {
        "centre": (place[owner] + within) * _CELL_PITCH,
        "radius": radius[0] + (radius[1] - radius[0]) * draw(4),
        "amplitude": brightness * np.exp(0.7 * normal - 0.7),
    }


def _centrelines(
    bend: Curve, glow: NDArray[np.float64], style: Neurites
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both ends of every labelled piece; a tree of one node has no link and is a point."""
    up, child = bend.links
    seen = 0.5 * (glow[up] + glow[child]) >= style.visible
    if style.shortest:
        seen &= _stretches(len(glow), up, child, bend.path, seen) >= style.shortest
    single = np.setdiff1d(np.flatnonzero(bend.parents < 0), up)
    first, second = np.concatenate((up[seen], single)), np.concatenate((child[seen], single))
    return bend.positions[first], bend.positions[second]


def _stretches(
    nodes: int,
    up: NDArray[np.int64],
    child: NDArray[np.int64],
    path: NDArray[np.float64],
    seen: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Length of the connected visible piece each link belongs to; 0 for links not seen."""
    edges = (np.ones(int(seen.sum())), (up[seen], child[seen]))
    _, piece = connected_components(coo_matrix(edges, shape=(nodes, nodes)), directed=False)
    length = np.where(seen, path[child] - path[up], 0.0)
    total = np.bincount(piece[child], weights=length, minlength=nodes)
    return np.where(seen, total[piece[child]], 0.0)


def _glow(bend: Curve, style: Neurites, rng: np.random.Generator) -> NDArray[np.float64]:
    """Brightness at every node: neuron x walk along the path x fading x thickness of dendrites."""
    peak = style.brightness * rng.lognormal(0, style.spread)
    glow = peak * brightness_walk(bend, style.variation, _CORRELATION, rng)
    glow = glow * (1 - style.fading + style.fading * np.exp(-bend.path / _FADE))
    if style.taper:
        glow = glow * 0.5 ** (bend.depth / style.taper)
    dendrite = np.isin(bend.kinds, _DENDRITES)
    faded: NDArray[np.float64] = np.where(dendrite, style.dendrite_gain, 1.0) * glow
    return faded


def _fibres(
    bend: Curve,
    glow: NDArray[np.float64],
    style: Neurites,
    optics: Optics,
    seed: int,
    number: int,
    rng: np.random.Generator,
) -> Arrays:
    up, child = bend.links
    dendrite = np.isin(bend.kinds[child], _DENDRITES)
    amplitude = 0.5 * (glow[up] + glow[child])
    bins = (0.5 * (bend.path[up] + bend.path[child]) / style.gap_length).astype(np.int64)
    # Keyed by the branch: keyed by the node, gaps turn into speckle.
    chance = uniforms(seed, _GAP_STREAM + 1000 * (number + 1), bins, bend.branch[child])
    gap = ~dendrite & (chance < style.gaps)
    amplitude = np.where(gap, style.gap_brightness, 1.0) * amplitude
    thick = np.maximum(0.9, 1.1 * np.minimum(bend.radii[child], 2.0))
    radius = np.where(dendrite, thick, style.axon_radius)
    if style.taper:
        radius = np.maximum(radius * 0.5 ** (bend.depth[child] / style.taper), 0.15)
    sigma = np.sqrt(
        np.square(optics.psf)
        + (style.blur * np.asarray((1.5, 1.0, 1.0))) ** 2
        + radius[:, None] ** 2 / 4
    )
    strayed = bend.positions + style.wobble * rng.standard_normal(bend.positions.shape)
    return {
        "start": strayed[up],
        "stop": strayed[child],
        "amplitude": amplitude,
        "sigma": sigma,
    }


def _balls(
    bend: Curve,
    glow: NDArray[np.float64],
    style: Neurites,
    seed: int,
    number: int,
    rng: np.random.Generator,
) -> list[Arrays]:
    up, child = bend.links
    zero = np.zeros_like(child)
    stream = _BEAD_STREAM + 1000 * (number + 1)
    length = bend.path[child] - bend.path[up]
    chance = uniforms(seed, stream, child, zero)
    axon = ~np.isin(bend.kinds[child], _DENDRITES)
    bead = child[axon & (chance < length / style.bead_spacing) & (style.blur == 0)]
    size = uniforms(seed, stream, bead, np.ones_like(bead))
    low, high = style.bead_radius
    boost = rng.lognormal(0.1, 0.5, len(bead))
    made: list[Arrays] = [
        {
            "centre": bend.positions[bead],
            "radius": low + (high - low) * size,
            "amplitude": glow[bead] * boost,
            "hard": np.zeros(len(bead)),
        }
    ]
    roots = np.flatnonzero(bend.parents < 0)
    if style.soma:
        made.append(
            {
                "centre": bend.positions[roots],
                "radius": rng.uniform(6.5, 8.5, len(roots)),
                "amplitude": glow[roots] * rng.uniform(1.5, 4.0, len(roots)),
                "hard": np.ones(len(roots)),
            }
        )
    return made


def _make_balls(parts: list[Arrays], optics: Optics) -> Balls:
    joined = _joined(parts, {"centre": 3, "radius": 0, "amplitude": 0, "hard": 0})
    hard = joined.pop("hard").astype(bool)
    return Balls(**joined, psf=optics.psf, hard=hard)


def _joined(parts: list[Arrays], fields: dict[str, int]) -> Arrays:
    empty = {k: np.zeros((0, n) if n else 0) for k, n in fields.items()}
    return {k: np.concatenate([part[k] for part in [empty, *parts]]) for k in fields}


def _poisson(u: NDArray[np.float64], mean: float) -> NDArray[np.int64]:
    """Poisson numbers by the inverse CDF at given uniforms; for small means."""
    term = np.exp(-mean)
    total, count = term, np.zeros(len(u), np.int64)
    for k in range(1, int(mean + 12 * np.sqrt(mean) + 12)):
        count += u > total
        term *= mean / k
        total += term
    return count
