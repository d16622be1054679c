"""Tiles between numpy and the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_NATIVE = ("uint8", "int16", "uint16", "float32")
"""Grey values that go to the device as they are; others are made float32 first."""


class Staging:
    """Moves tiles to a device and maps back.

    For a GPU there is one buffer of page-locked memory per kind of tile: copies from such memory
    need no second copy on the way, and do not hold up the host. The caller must let one tile finish
    before it sends the next.
    """

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._pinned = self._device.type == "cuda"
        self._buffers: dict[tuple[torch.dtype, torch.Size], Tensor] = {}

    def upload(self, tile: NDArray[Any]) -> Tensor:
        """Return a (z, y, x) array as a tensor on the device, in its own dtype where possible."""
        dtype = tile.dtype.newbyteorder("=")
        if dtype.name not in _NATIVE:
            dtype = np.dtype(np.float32)
        # torch warns of arrays it must not write to, and has no negative strides.
        tile = np.require(tile, dtype=dtype, requirements=["C", "W"])
        host = torch.from_numpy(tile)
        if self._pinned:
            host = self._buffer(host).copy_(host)
        return host.to(self._device, non_blocking=True)

    def download(self, tensor: Tensor) -> NDArray[np.float32]:
        """Return a float32 tensor as an array of its own, once the device is done."""
        if not self._pinned:
            return np.ascontiguousarray(tensor.numpy())
        buffer = self._buffer(tensor).copy_(tensor, non_blocking=True)
        torch.cuda.synchronize(self._device)
        return np.array(buffer.numpy())

    def _buffer(self, like: Tensor) -> Tensor:
        key = (like.dtype, like.shape)
        if key not in self._buffers:
            self._buffers[key] = torch.empty(like.shape, dtype=like.dtype, pin_memory=self._pinned)
        return self._buffers[key]
