"""Background tissue and camera noise of a phantom, voxel by voxel.

Cost: about 25 ns a voxel on one core, and no memory beyond the box.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroconn.geometry import Box
from neuroconn.phantom.hashing import QUANTILES, State, chain, normal, start, uniform
from neuroconn.phantom.settings import Camera, Tissue

Float32Volume = NDArray[np.float32]

_PIT_STREAM = 90
_STRIPE_STREAM = 91
_PLANE_STREAM = 92
_NOISE_STREAM = 93
_READ_STREAM = 94


def background(box: Box, tissue: Tissue, seed: int) -> Float32Volume:
    """Mean background grey level, without the camera offset.

    Parameters
    ----------
    box : Box
        Voxels to draw, in whole-brain coordinates.
    tissue : Tissue
        Brightness, texture octaves, pits, stripes and flicker.
    seed : int
        Seed of the phantom.

    Returns
    -------
    ndarray of float32, shape ``box.shape``
        ``brightness * max(0.05, 1 + texture)``.
    """
    texture = np.ones(box.shape, np.float32)
    for stream, (pitch, weight) in enumerate(tissue.octaves):
        _add_octave(texture, box.start, seed, stream, float(pitch), weight, False)
    if tissue.pits:
        # Dark holes: only the crests of one octave bite.
        _add_octave(texture, box.start, seed, _PIT_STREAM, tissue.pit_pitch, -tissue.pits, True)
    _add_planes(texture, box.start, seed, tissue.stripes, tissue.flicker)
    np.maximum(texture, np.float32(0.05), out=texture)
    texture *= np.float32(tissue.brightness)
    return texture


def expose(mean: Float32Volume, box: Box, camera: Camera, seed: int) -> NDArray[np.uint16]:
    """Turn mean photon counts into camera grey levels.

    ``offset + gain * Poisson(mean / gain) + read * normal``, rounded and clipped to uint16. The
    Poisson number is the inverse CDF at the voxel's hashed uniform below 50 counts; above, its
    Cornish-Fisher expansion, which is within a tenth of a count there.
    """
    out = np.empty(mean.shape, np.uint16)
    _expose(mean, out, box.start, seed, camera.offset, camera.gain, camera.read, QUANTILES)
    return out


def value_noise(
    points: NDArray[np.float64], pitch: float, seed: int, stream: int
) -> NDArray[np.float64]:
    """Smooth noise in [-1, 1] at (n, 3) positions: hashed on a lattice, smoothstep between."""
    out = np.empty(len(points))
    _noise_at(np.ascontiguousarray(points), out, seed, stream, pitch)
    return out


@njit(inline="always")
def _lattice(base: State, z: int, y: int, x: int) -> float:
    return 2.0 * uniform(chain(chain(chain(base, z), y), x)) - 1.0


@njit(cache=True, nogil=True)
def _add_octave(out, origin, seed, stream, pitch, weight, crests):  # type: ignore[no-untyped-def]
    nz, ny, nx = out.shape
    base = start(seed, stream)
    x_low = int(math.floor(origin[2] / pitch))
    n_low = int(math.floor((origin[2] + nx - 1) / pitch)) - x_low + 2
    corner = np.empty((2, 2, n_low))
    row = np.empty(n_low, np.float32)
    at = np.empty(nx, np.int64)
    blend = np.empty(nx, np.float32)
    for i in range(nx):
        p = (origin[2] + i) / pitch
        k = int(math.floor(p))
        f = p - k
        at[i] = k - x_low
        blend[i] = f * f * (3.0 - 2.0 * f)
    for k in range(nz):
        pz = (origin[0] + k) / pitch
        iz = int(math.floor(pz))
        fz = pz - iz
        fz = fz * fz * (3.0 - 2.0 * fz)
        last = -(1 << 62)
        for j in range(ny):
            py = (origin[1] + j) / pitch
            iy = int(math.floor(py))
            fy = py - iy
            fy = fy * fy * (3.0 - 2.0 * fy)
            if iy != last:
                for a in range(2):
                    for b in range(2):
                        for c in range(n_low):
                            corner[a, b, c] = _lattice(base, iz + a, iy + b, x_low + c)
                last = iy
            for c in range(n_low):
                low = corner[0, 0, c] * (1.0 - fy) + corner[0, 1, c] * fy
                high = corner[1, 0, c] * (1.0 - fy) + corner[1, 1, c] * fy
                row[c] = low * (1.0 - fz) + high * fz
            if crests:
                for i in range(nx):
                    v = row[at[i]] + (row[at[i] + 1] - row[at[i]]) * blend[i] - np.float32(0.55)
                    if v > 0.0:
                        out[k, j, i] += np.float32(weight) * v
            else:
                w = np.float32(weight)
                for i in range(nx):
                    out[k, j, i] += w * (row[at[i]] + (row[at[i] + 1] - row[at[i]]) * blend[i])


@njit(cache=True, nogil=True)
def _add_planes(out, origin, seed, stripes, flicker):  # type: ignore[no-untyped-def]
    nz, ny, nx = out.shape
    stripe, plane = start(seed, _STRIPE_STREAM), start(seed, _PLANE_STREAM)
    for k in range(nz):
        z = origin[0] + k
        shade = flicker * (2.0 * uniform(chain(plane, z)) - 1.0)
        for j in range(ny):
            p = (origin[1] + j) / 6.0
            i = int(math.floor(p))
            f = p - i
            f = f * f * (3.0 - 2.0 * f)
            low, high = _lattice(stripe, z, i, 0), _lattice(stripe, z, i + 1, 0)
            value = np.float32(shade + stripes * (low * (1.0 - f) + high * f))
            for x in range(nx):
                out[k, j, x] += value


@njit(cache=True, nogil=True)
def _noise_at(points, out, seed, stream, pitch):  # type: ignore[no-untyped-def]
    base = start(seed, stream)
    for n in range(len(points)):
        iz = int(math.floor(points[n, 0] / pitch))
        iy = int(math.floor(points[n, 1] / pitch))
        ix = int(math.floor(points[n, 2] / pitch))
        f = points[n] / pitch - np.array([iz, iy, ix])
        f = f * f * (3.0 - 2.0 * f)
        total = 0.0
        for a in range(2):
            for b in range(2):
                for c in range(2):
                    w = (f[0] if a else 1 - f[0]) * (f[1] if b else 1 - f[1])
                    w *= f[2] if c else 1 - f[2]
                    total += w * _lattice(base, iz + a, iy + b, ix + c)
        out[n] = total


@njit(cache=True, nogil=True)
def _poisson(mean: float, u: float) -> float:
    """Inverse CDF by summation; meant for small means."""
    term = math.exp(-mean)
    total, k = term, 0
    while total < u and k < 400:
        k += 1
        term *= mean / k
        total += term
    return float(k)


@njit(cache=True, nogil=True)
def _expose(mean, out, origin, seed, offset, gain, read, quantiles):  # type: ignore[no-untyped-def]
    nz, ny, nx = mean.shape
    shot, dark = start(seed, _NOISE_STREAM), start(seed, _READ_STREAM)
    for k in range(nz):
        shot_z, dark_z = chain(shot, origin[0] + k), chain(dark, origin[0] + k)
        for j in range(ny):
            shot_y, dark_y = chain(shot_z, origin[1] + j), chain(dark_z, origin[1] + j)
            for i in range(nx):
                u = uniform(chain(shot_y, origin[2] + i))
                m = float(mean[k, j, i])
                counts = m / gain
                if counts > 50.0:
                    n = normal(u, quantiles)
                    skew = gain * (n * n - 1.0) / 6.0
                    v = offset + m + math.sqrt(gain * m + read * read) * n + skew
                else:
                    r = normal(uniform(chain(dark_y, origin[2] + i)), quantiles)
                    v = offset + gain * _poisson(counts, u) + read * r
                out[k, j, i] = np.uint16(min(max(math.floor(v + 0.5), 0.0), 65535.0))
