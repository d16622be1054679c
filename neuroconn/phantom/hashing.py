"""Random numbers that are pure functions of (seed, absolute position).

splitmix64 finaliser [1]_, chained over z, y, x: any voxel of any chunk can be drawn alone, in any
order and on any worker, and tiles still equal the whole bit for bit.

References
----------
.. [1] Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray
from scipy import special

State: TypeAlias = np.uint64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_A = np.uint64(0xBF58476D1CE4E5B9)
_B = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_UNIT = 1.0 / (1 << 53)

_BINS = 4096
_EDGES = (np.arange(_BINS + 1) / _BINS).clip(0.5 / _BINS / 16, 1 - 0.5 / _BINS / 16)
QUANTILES: NDArray[np.float64] = special.ndtri(_EDGES)
"""Normal quantiles on a regular grid of probabilities; read by :func:`normal`."""


@njit(inline="always")
def mix(value: State) -> State:
    """Finalise one 64-bit word."""
    v = uint64(value)
    v = (v ^ (v >> _S30)) * _A
    v = (v ^ (v >> _S27)) * _B
    return v ^ (v >> _S31)


@njit(inline="always")
def start(seed: int, stream: int) -> State:
    """Return the state of an independent stream of a seed."""
    return mix(uint64(seed) * _GOLDEN + uint64(stream) * _A + _B)


@njit(inline="always")
def chain(state: State, coordinate: int) -> State:
    """Fold one integer coordinate, which may be negative, into a state."""
    return mix(uint64(state) + uint64(coordinate) * _GOLDEN + _A)


@njit(inline="always")
def uniform(state: State) -> float:
    """Uniform in (0, 1] from the top 53 bits."""
    return (float(uint64(state) >> _S11) + 0.5) * _UNIT


@njit(inline="always")
def normal(u: float, quantiles: NDArray[np.float64]) -> float:
    """Turn a uniform into a standard normal, by linear interpolation of the quantile table."""
    position = u * 4096.0
    k = min(int(position), 4095)  # the largest uniform rounds to 1
    f = position - k
    value: float = quantiles[k] * (1.0 - f) + quantiles[k + 1] * f
    return value


@njit(cache=True, nogil=True)
def uniforms(
    seed: int, stream: int, a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Uniforms of pairs of integers: one per (a, b), whatever the order they are asked in."""
    out = np.empty(len(a))
    base = start(seed, stream)
    for i in range(len(a)):
        out[i] = uniform(chain(chain(base, a[i]), b[i]))
    return out
