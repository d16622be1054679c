"""Things placed in space, found by bucket and summed in a fixed order.

Every item has its own support box, which does not depend on the chunk being drawn, and the items of
a chunk are always added in order of their number: these two rules make tiles equal the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroconn.geometry import Box

Points = NDArray[np.float64]

_BUCKET = 64
REACH = 4.0  # standard deviations; beyond, a fibre of amplitude 1000 adds less than a grey level


class Index:
    """Which items have support in a box: buckets of 64 voxels, items sorted by bucket."""

    def __init__(self, low: Points, high: Points) -> None:
        self._low = np.floor(low).astype(np.int64)
        self._high = np.ceil(high).astype(np.int64) + 1
        first, last = self._low // _BUCKET, (self._high - 1) // _BUCKET
        span = last - first + 1
        copies = span.prod(axis=1) if len(low) else np.zeros(0, np.int64)
        item = np.repeat(np.arange(len(low)), copies)
        place = np.arange(len(item)) - np.repeat(np.cumsum(copies) - copies, copies)
        s = span[item]
        offset = np.stack(
            (place // (s[:, 1] * s[:, 2]), place // s[:, 2] % s[:, 1], place % s[:, 2]), axis=1
        )
        key = _key(first[item] + offset)
        order = np.argsort(key, kind="stable")
        self._keys, self._items = key[order], item[order].astype(np.int32)

    def __len__(self) -> int:
        return len(self._low)

    def query(self, box: Box) -> NDArray[np.int64]:
        """Numbers of the items whose support meets ``box``, ascending."""
        if not len(self) or not box.size:
            return np.zeros(0, np.int64)
        axes = [
            np.arange(a // _BUCKET, (b - 1) // _BUCKET + 1)
            for a, b in zip(box.start, box.stop, strict=True)
        ]
        wanted = _key(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3))
        begin = np.searchsorted(self._keys, wanted, "left")
        end = np.searchsorted(self._keys, wanted, "right")
        found = [self._items[a:b] for a, b in zip(begin, end, strict=True) if b > a]
        if not found:
            return np.zeros(0, np.int64)
        items = np.unique(np.concatenate(found)).astype(np.int64)
        touches = (self._low[items] < box.stop) & (self._high[items] > box.start)
        kept: NDArray[np.int64] = items[touches.all(axis=1)]
        return kept


@dataclass(frozen=True)
class Fibres:
    """Blurred straight pieces of neurite: a uniform segment convolved with a Gaussian."""

    start: Points
    """First ends, shape (n, 3)."""
    stop: Points
    """Second ends, shape (n, 3)."""
    amplitude: NDArray[np.float64]
    """Peak grey level of an endless fibre, shape (n,)."""
    sigma: Points
    """Standard deviation per axis of blur and thickness together, shape (n, 3)."""

    def index(self) -> Index:
        """Sort the fibres into buckets."""
        reach = REACH * self.sigma
        low, high = np.minimum(self.start, self.stop), np.maximum(self.start, self.stop)
        return Index(low - reach, high + reach)

    def add_to(self, image: NDArray[np.float32], box: Box, items: NDArray[np.int64]) -> None:
        """Add ``items`` to an image of ``box``.

        ``A exp(-d2/2) [Phi(L - tau) - Phi(-tau)]`` with distances in units of sigma per axis.
        """
        _add_fibres(image, box.start, items, self.start, self.stop, self.amplitude, self.sigma)


@dataclass(frozen=True)
class Balls:
    """Blurred solid balls: somata, beads and cells."""

    centre: Points
    """Centres, shape (n, 3)."""
    radius: NDArray[np.float64]
    """Radii in voxels, shape (n,)."""
    amplitude: NDArray[np.float64]
    """Grey level inside a large ball, shape (n,)."""
    psf: tuple[float, float, float]
    """Blur along (z, y, x)."""
    hard: NDArray[np.bool_]
    """True for an erf edge (somata, cells), False for a Gaussian (beads), shape (n,)."""

    def index(self) -> Index:
        """Sort the balls into buckets."""
        reach = self.radius[:, None] + REACH * np.asarray(self.psf)
        reach = np.where(self.hard[:, None], reach, REACH * self._soft_sigma())
        return Index(self.centre - reach, self.centre + reach)

    def add_to(self, image: NDArray[np.float32], box: Box, items: NDArray[np.int64]) -> None:
        """Add ``items`` to an image of ``box``."""
        _add_balls(
            image,
            box.start,
            items,
            self.centre,
            self.radius,
            self.amplitude,
            self.hard,
            self._soft_sigma(),
            np.asarray(self.psf),
        )

    def _soft_sigma(self) -> Points:
        sigma: Points = np.sqrt(np.square(self.psf)[None] + np.square(self.radius)[:, None])
        return sigma


@dataclass(frozen=True)
class Centrelines:
    """The exact course of the neurites, as straight pieces."""

    start: Points
    """First ends, shape (n, 3)."""
    stop: Points
    """Second ends, shape (n, 3)."""

    def index(self, reach: float) -> Index:
        """Sort the pieces into buckets, each with ``reach`` voxels around it."""
        low, high = np.minimum(self.start, self.stop), np.maximum(self.start, self.stop)
        return Index(low - reach, high + reach)

    def distance(self, box: Box, items: NDArray[np.int64], clip: float) -> NDArray[np.float32]:
        """Exact distance to the nearest piece, cut off at ``clip``; float32, ``box.shape``."""
        squared = np.full(box.shape, clip * clip, np.float64)
        _lower_distance(squared, box.start, items, self.start, self.stop, clip)
        return np.sqrt(squared).astype(np.float32)

    def clip(self, box: Box) -> Centrelines:
        """Cut off what lies outside the voxel cells ``[start - 0.5, stop - 0.5)`` of ``box``."""
        low, high = np.asarray(box.start) - 0.5, np.asarray(box.stop) - 0.5
        course = self.stop - self.start
        with np.errstate(divide="ignore", invalid="ignore"):
            a, b = (low - self.start) / course, (high - self.start) / course
        still = course == 0
        enter = np.where(still, 0.0, np.minimum(a, b)).max(axis=1, initial=0.0)
        leave = np.where(still, 1.0, np.maximum(a, b)).min(axis=1, initial=1.0)
        middle = self.start + (0.5 * (enter + leave))[:, None] * course
        kept = ((middle >= low) & (middle < high)).all(axis=1)
        start, course = self.start[kept], course[kept]
        return Centrelines(start + enter[kept, None] * course, start + leave[kept, None] * course)

    def chunks(self, chunk: tuple[int, int, int]) -> NDArray[np.int64]:
        """Chunks whose voxel cells ``[start - 0.5, stop - 0.5)`` a piece crosses.

        Returns
        -------
        ndarray of int64, shape (m, 3)
            Chunk indices, sorted, unclipped: pieces may leave the volume.
        """
        found = _cross(self.start + 0.5, self.stop + 0.5, np.asarray(chunk, np.float64))
        unique: NDArray[np.int64] = np.unique(found, axis=0)
        return unique


def _key(bucket: NDArray[np.int64]) -> NDArray[np.int64]:
    shifted = bucket + (1 << 20)
    key: NDArray[np.int64] = (shifted[:, 0] << 42) | (shifted[:, 1] << 21) | shifted[:, 2]
    return key


@njit(inline="always")
def _range(low: float, high: float, origin: int, n: int) -> tuple[int, int]:
    """Voxels of an axis inside [low, high], as indices into the array."""
    a = int(math.floor(low)) - origin
    b = int(math.ceil(high)) + 1 - origin
    return max(a, 0), min(b, n)


@njit(cache=True, nogil=True)
def _add_fibres(image, origin, items, start, stop, amplitude, sigma):  # type: ignore[no-untyped-def]
    nz, ny, nx = image.shape
    root2 = math.sqrt(2.0)
    for n in items:
        sz, sy, sx = sigma[n]
        wz = (stop[n, 0] - start[n, 0]) / sz
        wy = (stop[n, 1] - start[n, 1]) / sy
        wx = (stop[n, 2] - start[n, 2]) / sx
        length = math.sqrt(wz * wz + wy * wy + wx * wx)
        if length < 1e-9:
            continue
        wz, wy, wx = wz / length, wy / length, wx / length
        z0, z1 = _range(
            min(start[n, 0], stop[n, 0]) - 4 * sz,
            max(start[n, 0], stop[n, 0]) + 4 * sz,
            origin[0],
            nz,
        )
        y0, y1 = _range(
            min(start[n, 1], stop[n, 1]) - 4 * sy,
            max(start[n, 1], stop[n, 1]) + 4 * sy,
            origin[1],
            ny,
        )
        x0, x1 = _range(
            min(start[n, 2], stop[n, 2]) - 4 * sx,
            max(start[n, 2], stop[n, 2]) + 4 * sx,
            origin[2],
            nx,
        )
        half = 0.5 * amplitude[n]
        for k in range(z0, z1):
            uz = (origin[0] + k - start[n, 0]) / sz
            for j in range(y0, y1):
                uy = (origin[1] + j - start[n, 1]) / sy
                for i in range(x0, x1):
                    ux = (origin[2] + i - start[n, 2]) / sx
                    tau = uz * wz + uy * wy + ux * wx
                    if tau < -4.0 or tau > length + 4.0:
                        continue
                    d2 = uz * uz + uy * uy + ux * ux - tau * tau
                    if d2 > 16.0:
                        continue
                    share = math.erf((length - tau) / root2) + math.erf(tau / root2)
                    image[k, j, i] += np.float32(half * math.exp(-0.5 * d2) * share)


@njit(cache=True, nogil=True)
def _add_balls(image, origin, items, centre, radius, amplitude, hard, soft, psf):  # type: ignore[no-untyped-def]
    nz, ny, nx = image.shape
    blur = (psf[0] * psf[1] * psf[2]) ** (1.0 / 3.0)
    for n in items:
        reach = np.empty(3)
        for a in range(3):
            reach[a] = radius[n] + 4 * psf[a] if hard[n] else 4 * soft[n, a]
        z0, z1 = _range(centre[n, 0] - reach[0], centre[n, 0] + reach[0], origin[0], nz)
        y0, y1 = _range(centre[n, 1] - reach[1], centre[n, 1] + reach[1], origin[1], ny)
        x0, x1 = _range(centre[n, 2] - reach[2], centre[n, 2] + reach[2], origin[2], nx)
        for k in range(z0, z1):
            dz = origin[0] + k - centre[n, 0]
            for j in range(y0, y1):
                dy = origin[1] + j - centre[n, 1]
                for i in range(x0, x1):
                    dx = origin[2] + i - centre[n, 2]
                    if hard[n]:
                        rho = math.sqrt(dz * dz + dy * dy + dx * dx)
                        # Along z the edge is as soft as the axial blur makes it.
                        edge = (
                            blur
                            if rho < 1e-9
                            else math.sqrt(
                                (dz * psf[0]) ** 2 + (dy * psf[1]) ** 2 + (dx * psf[2]) ** 2
                            )
                            / rho
                        )
                        v = 0.5 * math.erfc((rho - radius[n]) / (math.sqrt(2.0) * edge))
                    else:
                        q = (dz / soft[n, 0]) ** 2 + (dy / soft[n, 1]) ** 2 + (dx / soft[n, 2]) ** 2
                        v = math.exp(-0.5 * q) if q < 16.0 else 0.0
                    image[k, j, i] += np.float32(amplitude[n] * v)


@njit(cache=True, nogil=True)
def _lower_distance(squared, origin, items, start, stop, clip):  # type: ignore[no-untyped-def]
    nz, ny, nx = squared.shape
    cut = clip * clip
    for n in items:
        az, ay, ax = start[n]
        wz, wy, wx = stop[n, 0] - az, stop[n, 1] - ay, stop[n, 2] - ax
        norm = wz * wz + wy * wy + wx * wx
        scale = 0.0 if norm < 1e-18 else 1.0 / norm
        low_y, high_y = min(ay, stop[n, 1]), max(ay, stop[n, 1])
        low_z, high_z = min(az, stop[n, 0]), max(az, stop[n, 0])
        z0, z1 = _range(low_z - clip, high_z + clip, origin[0], nz)
        y0, y1 = _range(low_y - clip, high_y + clip, origin[1], ny)
        x0, x1 = _range(min(ax, stop[n, 2]) - clip, max(ax, stop[n, 2]) + clip, origin[2], nx)
        for k in range(z0, z1):
            z = origin[0] + k
            out_z = max(low_z - z, z - high_z, 0.0)
            for j in range(y0, y1):
                y = origin[1] + j
                out_y = max(low_y - y, y - high_y, 0.0)
                if out_z * out_z + out_y * out_y >= cut:
                    continue
                uz, uy = z - az, y - ay
                for i in range(x0, x1):
                    ux = origin[2] + i - ax
                    t = (uz * wz + uy * wy + ux * wx) * scale
                    t = min(max(t, 0.0), 1.0)
                    dz, dy, dx = uz - t * wz, uy - t * wy, ux - t * wx
                    d = dz * dz + dy * dy + dx * dx
                    if d < squared[k, j, i]:
                        squared[k, j, i] = d


@njit(cache=True, nogil=True)
def _cross(start, stop, chunk):  # type: ignore[no-untyped-def]
    """Cells a set of segments passes through: one midpoint between every two plane crossings."""
    total = 0
    for n in range(len(start)):
        total += 3
        for a in range(3):
            total += abs(
                int(math.floor(stop[n, a] / chunk[a]) - math.floor(start[n, a] / chunk[a]))
            )
    out = np.empty((total, 3), np.int64)
    m = 0
    for n in range(len(start)):
        w = stop[n] - start[n]
        times = [0.0, 1.0]
        for a in range(3):
            p, q = start[n, a] / chunk[a], stop[n, a] / chunk[a]
            for plane in range(int(math.floor(min(p, q))) + 1, int(math.floor(max(p, q))) + 1):
                times.append((plane - p) / (q - p))
        times.sort()
        for i in range(-1, len(times)):
            if i == -1:
                t = 0.0
            elif i == len(times) - 1:
                t = 1.0
            else:
                t = 0.5 * (times[i] + times[i + 1])
            for a in range(3):
                out[m, a] = int(math.floor((start[n, a] + t * w[a]) / chunk[a]))
            m += 1
    return out[:m]
