"""How much memory a prediction takes, and whether a machine has it."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import lcm, prod

import torch

from neuroconn.errors import UsageError
from neuroconn.geometry import ZYX
from neuroconn.inference.engine.device import DTYPES, plain_name
from neuroconn.network.base import Network
from neuroconn.volume.memory import available_memory

_COPIES = {4: 2.0, 2: 1.6}
"""Tensors with those the kernels make of them, by the bytes of a number."""
_SCRATCH = 32 << 20
_LEAST_CHUNK = 8
_ROUND = 64
"""Chunks are multiples of the readable unit inside of them, which is this by default."""
SLOTS = 2
"""Tiles a worker has in memory at once: one is predicted, the other read or written."""
_HOST_BYTES = 20
"""Bytes per voxel of a tile that is read, or of one whose map is judged and written."""


@dataclass(frozen=True, slots=True)
class Room:
    """The memory one worker sees."""

    host: str
    """Machine; its workers share what is available."""
    available: int | None
    """Bytes of main memory that are free; None where the system does not say."""
    gpu: int | None
    """Bytes that are free on this worker's GPU; None without one."""


def room() -> Room:
    """Return the memory this process sees now."""
    gpu = gpu_memory() if torch.cuda.is_available() else None
    return Room(
        f"{socket.gethostname()}/{os.environ.get('SLURM_JOB_ID', '')}", available_memory(), gpu
    )


def gpu_memory() -> int:
    """Bytes that this process may still take of its GPU, with what torch keeps to use again."""
    free, _ = torch.cuda.mem_get_info()
    return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def predict_memory(
    network: Network,
    tile: ZYX,
    precision: str,
    trim: ZYX = (0, 0, 0),
    planes: int | None = None,
) -> int:
    """Bytes one prediction takes at its peak, without the process around it.

    The model: weights, in the body's precision and as packed by the kernels; the tensors alive at
    full resolution when the last skip is joined, as much again in float32 for the kernels' own
    copies and for holes in kept memory, and 0.6 times as much in half precision; five float32
    values per voxel for the tile as read, as normalised, as cast, and the output; and 32 MiB. It is
    meant to be an upper bound: measured peaks on CPUs lie between 0.4 and 1.0 of it.

    Parameters
    ----------
    network : Network
        As trained; folding changes nothing that matters here.
    tile : (z, y, x) ints
        What is read.
    precision : str
        A key of :data:`DTYPES`.
    trim : (z, y, x) ints, optional
        What is left out of the output on each face.
    planes : int, optional
        Planes to a slab, after memory ran out with the whole.
    """
    size = DTYPES[plain_name(precision)].itemsize
    weights = sum(p.numel() for p in network.parameters()) * size * 2
    peak = network.activations(tile, trim, planes).peak
    return weights + int(peak * size * _COPIES[size]) + prod(tile) * _HOST_BYTES + _SCRATCH


def check_memory(
    network: Network,
    chunk: ZYX,
    halo: int,
    trim: int,
    *,
    device: str,
    precision: str,
    rooms: Sequence[Room],
) -> None:
    """Refuse a tile that does not fit the memory of the workers, before any of them takes one.

    Parameters
    ----------
    network : Network
        What will predict.
    chunk : (z, y, x) ints
        Core of a tile.
    halo, trim : int
        Around the core; and how much of that is not predicted.
    device, precision : str
        As resolved, not ``auto``.
    rooms : sequence of Room
        One for each worker.

    Raises
    ------
    UsageError
        Naming the machine, what it has, what is needed, and the largest chunk that fits.
    """
    workers = Counter(r.host for r in rooms)
    for where in rooms:
        count = 1 if device == "cuda" else workers[where.host]
        free = where.gpu if device == "cuda" else where.available
        if free is None:
            continue

        def needed(c: ZYX, count: int = count) -> int:
            return count * _worker_bytes(network, c, halo, trim, device, precision)

        if needed(chunk) <= free:
            continue
        place = f"the GPU of {_name(where)}" if device == "cuda" else _name(where)
        shared = f" for {count} workers" if count > 1 else ""
        best = _largest(needed, chunk, network.stride, free)
        raise UsageError(
            f"chunks of {max(chunk)} with a halo of {halo} need {needed(chunk) / 2**30:.1f} GiB"
            f"{shared}, {place} has {free / 2**30:.1f} free: "
            + (f"set chunk: {best} or less" if best else "use a machine with more memory")
            + (", or start fewer workers there" if count > 1 else "")
        )


def _worker_bytes(
    network: Network, chunk: ZYX, halo: int, trim: int, device: str, precision: str
) -> int:
    z, y, x = (c + 2 * halo for c in chunk)
    one = predict_memory(network, (z, y, x), precision, (trim,) * 3)
    # On a GPU the other tiles wait in main memory.
    return one if device == "cuda" else one + (SLOTS - 1) * _HOST_BYTES * z * y * x


def _largest(needed: Callable[[ZYX], int], chunk: ZYX, stride: int, free: int) -> int:
    """Return the largest side on the pooling grid that fits, a round one if possible; else 0."""
    for step in (lcm(stride, _ROUND), stride):
        sides = range(max(chunk) // step * step, _LEAST_CHUNK - 1, -step)
        fitting = (side for side in sides if needed((side, side, side)) <= free)
        if best := next(fitting, 0):
            return best
    return 0


def _name(where: Room) -> str:
    return where.host.split("/")[0]
