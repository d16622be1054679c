"""Tiles on their way through a device: buffers, and the order in which they may be used."""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroconn.inference.engine.lanes import Lanes, Mark

_NATIVE = ("uint8", "int16", "uint16", "float32")
"""Grey values that go to the device as they are; others are made float32 first."""

Work: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""A (z, y, x) tile on the device to its map and a number that is finite if all of it is."""


class Slots:
    """Takes tiles through a device, several at a time.

    For a GPU every slot has page-locked buffers of its own: copies from and to such memory go on
    while the caller does other things. A slot is free again when its map has arrived, so no buffer
    is written to while a copy still reads it.

    Parameters
    ----------
    lanes : Lanes
        Queues of the device.
    count : int, optional
        Tiles under way at once; more callers wait.
    """

    def __init__(self, lanes: Lanes, count: int = 3) -> None:
        self._lanes = lanes
        self._free: queue.LifoQueue[_Slot] = queue.LifoQueue()
        for _ in range(count):
            self._free.put(_Slot(lanes))

    def run(self, tile: NDArray[Any], work: Work) -> tuple[NDArray[Any], bool, float]:
        """Send a tile, work on it there, and bring the result back.

        Returns
        -------
        (ndarray, bool, float)
            The map, an array of its own; whether the number beside it was finite; and the seconds
            the work took.
        """
        lanes, slot, marks = self._lanes, self._free.get(), list[Mark]()
        try:
            slot.stage(tile)
            marks.append(lanes.up.run(slot.send))
            # Launches of one network must not mix with those of another; the copies may.
            with lanes.turn:
                marks.append(lanes.compute.run(lambda: slot.work(work), marks[-1]))
            marks.append(lanes.down.run(slot.fetch, marks[-1]))
            marks[-1].wait()
            out, finite = slot.take()
            return out, finite, marks[1].seconds
        finally:
            for mark in marks:  # after an error too: a copy may still read the buffers
                with suppress(Exception):  # the first one is on its way to the caller
                    mark.wait()
            slot.release()
            self._free.put(slot)


class _Slot:
    """Buffers of one tile. Where nothing is staged, a slot only passes tensors on."""

    def __init__(self, lanes: Lanes) -> None:
        self._device, self._staged = lanes.device, lanes.staged
        self._buffers: dict[tuple[str, torch.dtype, torch.Size], Tensor] = {}
        self._host: Tensor | None = None
        self._input: Tensor | None = None
        self._output: tuple[Tensor, Tensor] | None = None
        self._fetched: tuple[Tensor, Tensor] | None = None

    def stage(self, tile: NDArray[Any]) -> None:
        """Take an array, in its own dtype where the device has it."""
        dtype = tile.dtype.newbyteorder("=")
        if dtype.name not in _NATIVE:
            dtype = np.dtype(np.float32)
        # torch warns of arrays it must not write to, and has no negative strides.
        host = torch.from_numpy(np.require(tile, dtype=dtype, requirements=["C", "W"]))
        self._host = self._buffer("in", host).copy_(host) if self._staged else host

    def send(self) -> None:
        host = _there(self._host)
        # A buffer of the slot's own: memory that another stream might be given is never written.
        self._input = (
            self._buffer("there", host, self._device).copy_(host, non_blocking=True)
            if self._staged
            else host
        )

    def work(self, work: Work) -> None:
        self._output = work(_there(self._input))

    def fetch(self) -> None:
        output = _there(self._output)
        self._fetched = output
        if self._staged:
            codes, total = (
                self._buffer(f"out{i}", tensor).copy_(tensor, non_blocking=True)
                for i, tensor in enumerate(output)
            )
            self._fetched = codes, total

    def take(self) -> tuple[NDArray[Any], bool]:
        """Return what was fetched; the slot's own memory is not handed out."""
        codes, total = _there(self._fetched)
        out: NDArray[Any] = codes.numpy()
        return (out.copy() if self._staged else out), bool(torch.isfinite(total))

    def release(self) -> None:
        """Let go of tensors, which other tiles can use from now on."""
        self._host = self._input = self._output = self._fetched = None

    def _buffer(self, name: str, like: Tensor, device: torch.device | None = None) -> Tensor:
        key = (name, like.dtype, like.shape)
        if key not in self._buffers:
            pinned = device is None and self._device.type == "cuda"
            self._buffers[key] = torch.empty(
                like.shape, dtype=like.dtype, device=device or "cpu", pin_memory=pinned
            )
        return self._buffers[key]


def _there(value: Any) -> Any:
    if value is None:
        raise RuntimeError("a slot was used out of order")
    return value
