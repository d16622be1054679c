"""The volume that is converted: dark, noisy background with a few thin neurites, as TIFF slices.

Background: a 9 x 9 x 9 random field, zoomed linearly to 220..620 counts. Neurites: random walks,
one voxel thick (+600) with a shell of one voxel (+300). Noise: Gaussian, sigma
``0.9 sqrt(I - 100) + 2`` at intensity I. Planes are drawn one at a time, so any size fits memory,
and a plane is the same however many threads draw.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

SEED = 20261
NEURITES = 12
CORE, SHELL = 600, 300
STRIPS = 8
"""Strips of a compressed page: 128 rows of 1024."""

KINDS = {"none": None, "lzw": "lzw", "zlib": "zlib"}
"""Compression of the slices, as this benchmark and as tifffile call it."""


class Brain:
    """Planes of the test volume of a (z, y, x) shape, drawn on demand."""

    def __init__(self, shape: tuple[int, int, int], seed: int = SEED) -> None:
        self.shape, self._seed = shape, seed
        rng = np.random.default_rng(seed)
        self._field = rng.uniform(220, 620, (9, 9, 9))
        self._core, self._shell = _neurites(shape, rng)

    def plane(self, z: int) -> NDArray[np.uint16]:
        """Draw the plane at ``z``, shape (y, x)."""
        signal = self._background(z)
        signal.flat[_of_plane(self._shell, z, signal.size)] += SHELL
        signal.flat[_of_plane(self._core, z, signal.size)] += CORE
        noise = np.random.default_rng((self._seed, z)).standard_normal(signal.shape)
        signal += noise * (0.9 * np.sqrt(signal - 100) + 2)
        return np.clip(np.rint(signal), 0, 65535).astype(np.uint16)

    def _background(self, z: int) -> NDArray[np.float64]:
        weights_z, weights_y, weights_x = (_linear(n) for n in self.shape)
        coarse = np.tensordot(weights_z[z], self._field, axes=1)
        zoomed: NDArray[np.float64] = weights_y @ coarse @ weights_x.T
        return zoomed


@functools.cache
def _linear(size: int) -> NDArray[np.float64]:
    """Weights of 9 nodes at each of ``size`` evenly spaced places, shape (size, 9)."""
    places = np.linspace(0, 8, size)
    weights: NDArray[np.float64] = np.clip(1 - np.abs(places[:, None] - np.arange(9)), 0, None)
    return weights


def _neurites(
    shape: tuple[int, int, int], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sorted flat indices of the core voxels, and of the voxels around them."""
    size = np.array(shape)
    walks = []
    for _ in range(NEURITES):
        turns = rng.normal(size=(2 * max(shape), 3)).cumsum(axis=0)
        steps = turns / np.linalg.norm(turns, axis=1, keepdims=True)
        path = rng.uniform(0.1, 0.9, 3) * size + steps.cumsum(axis=0)
        walks.append(_mirrored(np.rint(path).astype(np.int64), size))
    core = np.concatenate(walks)
    around = np.concatenate([core + offset for offset in product((-1, 0, 1), repeat=3)])
    inside = np.all((around >= 0) & (around < size), axis=1)
    flat_core = np.unique(np.ravel_multi_index(tuple(core.T), shape))
    flat_around = np.unique(np.ravel_multi_index(tuple(around[inside].T), shape))
    return flat_core, np.setdiff1d(flat_around, flat_core)


def _mirrored(path: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fold a path back at the faces of the volume."""
    period = np.maximum(2 * (size - 1), 1)
    folded = np.mod(path, period)
    inside: NDArray[np.int64] = np.minimum(folded, period - folded)
    return np.minimum(inside, size - 1)


def _of_plane(flat: NDArray[np.int64], z: int, plane: int) -> NDArray[np.int64]:
    """The members of sorted flat indices that lie in plane ``z``, as indices into the plane."""
    first, last = np.searchsorted(flat, [z * plane, (z + 1) * plane])
    return flat[first:last] - z * plane


def write_slices(brain: Brain, folder: Path, kind: str, threads: int) -> Path:
    """Write a folder of single-page TIFFs; complete folders are kept.

    Uncompressed pages have one strip, compressed ones eight, without predictor.
    """
    planes, height, width = brain.shape
    target = folder / f"{kind}-{planes}x{height}x{width}-{SEED}"
    if target.is_dir():
        return target
    partial = target.with_suffix(".partial")
    partial.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"rowsperstrip": height}
    if kind != "none":
        options = {"rowsperstrip": -(-height // STRIPS), "compression": KINDS[kind]}

    def write(z: int) -> None:
        tifffile.imwrite(
            partial / f"slice_z{z:05}.tif",
            brain.plane(z),
            photometric="minisblack",
            metadata=None,
            maxworkers=1,
            **options,
        )

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(write, range(planes)):
            pass
    partial.rename(target)
    return target


def read_slices(files: list[Path], threads: int) -> NDArray[np.uint16]:
    """Read slices into one (z, y, x) array, ``threads`` at a time."""
    first = tifffile.imread(files[0])
    volume = np.empty((len(files), *first.shape), first.dtype)

    def read(z: int) -> None:
        volume[z] = tifffile.imread(files[z], maxworkers=1)

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(read, range(len(files))):
            pass
    return volume


def reduced(volume: NDArray[Any], steps: Sequence[int]) -> NDArray[Any]:
    """Max over blocks of ``steps`` (z, y, x) voxels; odd sizes round up."""
    pads = [(0, -n % k) for n, k in zip(volume.shape, steps, strict=True)]
    padded = np.pad(volume, pads, mode="edge")
    z, y, x = (n // k for n, k in zip(padded.shape, steps, strict=True))
    blocks = padded.reshape(z, steps[0], y, steps[1], x, steps[2])
    return np.asarray(blocks.max(axis=(1, 3, 5)))


def pyramid(volume: NDArray[Any], levels: int) -> Iterator[NDArray[Any]]:
    """Yield ``volume`` and its max reductions by two along every axis."""
    for level in range(levels):
        if level:
            volume = reduced(volume, (2, 2, 2))
        yield volume
