"""A network, a device and one tile shape: grey values in, distances out.

The engine runs the body of the network in half precision where the hardware has it and its head in
float32, on tensors with channels last, with batch normalisation folded away. Every tile has the
same shape: kernels are chosen once, and a voxel's result never depends on how the brain was cut.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroconn.errors import HaloError, UsageError
from neuroconn.geometry import ZYX
from neuroconn.inference.encoding import Coded, Encoding
from neuroconn.inference.engine.body import Body, TorchBody, distances, with_less_memory
from neuroconn.inference.engine.device import DTYPES, check_size, choose
from neuroconn.inference.engine.errors import NonFiniteOutputError
from neuroconn.inference.engine.lanes import lanes_of
from neuroconn.inference.engine.memory import gpu_memory, predict_memory
from neuroconn.inference.engine.self_check import (
    compare,
    round_results,
    sample_tile,
    small_tile,
)
from neuroconn.inference.engine.slots import Slots, Work
from neuroconn.network.allocator import keep_pages
from neuroconn.network.base import check_sides
from neuroconn.network.blackbox import BlackBox
from neuroconn.network.normalisation import Constants
from neuroconn.network.weights import Model

__all__ = ["Engine", "NonFiniteOutputError", "choose", "predict_memory", "sample_tile"]

logger = logging.getLogger(__name__)


class Engine:
    """Predicts tiles of one shape on one device.

    Parameters
    ----------
    model : Model
        Network and card; the network is copied.
    device : {"auto", "cpu", "cuda"}, optional
        ``auto`` takes the GPU where there is one.
    precision : {"auto", "float32", "bfloat16", "float16"}, optional
        Arithmetic of the body; ``auto`` is half precision where the device has it in hardware.
    tile : (z, y, x) ints
        Shape of every tile: core and halo.
    trim : int or (z, y, x) ints, optional
        Voxels at each face that are not asked for. They are left out of the output, and of the work
        that only they need: with a third of the tile's side as halo, half of it.
    threads : int, optional
        Threads of torch in this process; by default as they are.
    kind : {"torch", "openvino"}, optional
        What computes the body; OpenVINO on CPUs only.
    slots : int, optional
        Tiles on their way at once: while one is computed on a GPU, others are copied.
    check : bool, optional
        Whether to look first: is the GPU's memory enough, and does half precision agree with
        float32 on one tile (:meth:`self_check`)? Without it, an engine that has too little memory
        works in slabs.

    Raises
    ------
    UsageError
        If the device or the precision is not there, the tile does not fit the GPU's memory, or half
        precision computes wrongly here.
    HaloError
        If the tile does not fit the network's pooling grid, or makes too large a tensor.

    Examples
    --------
    >>> from neuroconn.network import ModelCard, Normalisation, UNet
    >>> card = ModelCard(name="untrained", clip=10, normalisation=Normalisation(),
    ...                  spacing_um=(1, 1, 1))
    >>> engine = Engine(Model(UNet(levels=1, width=2), card), device="cpu", tile=(8, 8, 8))
    >>> engine.predict(np.zeros((8, 8, 8), np.float32)).shape
    (8, 8, 8)
    """

    def __init__(
        self,
        model: Model,
        *,
        device: str = "auto",
        precision: str = "auto",
        tile: ZYX,
        trim: int | ZYX = 0,
        threads: int | None = None,
        kind: str = "torch",
        slots: int = 3,
        check: bool = True,
    ) -> None:
        self.kind = kind
        self.device, self.precision = choose(device, precision, kind, model.network.castable)
        self.tile, self.trim = tile, (trim,) * 3 if isinstance(trim, int) else trim
        self._source = model
        self._check_fit()
        if check and self.device == "cuda":
            self._check_gpu()
        if self.device == "cpu":
            keep_pages()
            if threads is not None:
                torch.set_num_threads(threads)
        self._body = self._make_body()
        if self.device == "cuda":
            torch.cuda.synchronize()  # weights were sent on another stream than tiles will be
        self._lanes = lanes_of(self.device)
        self._slots = Slots(self._lanes, slots)
        self.half_error = self.self_check() if check else None
        """Largest difference of half precision to float32 on one tile, in voxels, if checked."""

    @property
    def shape(self) -> ZYX:
        """Shape of the output: the tile without the trim."""
        z, y, x = (n - 2 * t for n, t in zip(self.tile, self.trim, strict=True))
        return z, y, x

    @property
    def memory(self) -> int:
        """Bytes one prediction takes at its peak; see :func:`predict_memory`."""
        return predict_memory(self._source.network, self.tile, self.precision, self.trim)

    def predict(
        self, tile: NDArray[Any], constants: Constants | None = None
    ) -> NDArray[np.float32]:
        """Distance to the nearest neurite, in voxels, of one tile.

        Threads may call it at the same time; their networks take turns, their copies do not.

        Parameters
        ----------
        tile : ndarray, shape ``self.tile``
            Grey values of any real dtype; without ``constants`` float32, normalised already.
        constants : Constants, optional
            The brain's normalisation, applied on the device.

        Returns
        -------
        ndarray of float32, shape ``self.shape``
            Not negative, and finite.

        Raises
        ------
        HaloError
            If the tile has another shape.
        UsageError
            If raw grey values come without constants, or memory runs out in the smallest slabs too.
        NonFiniteOutputError
            If a feature or a distance is NaN or infinite. Stored as a number it would read as "on
            the neurite", or end the walk.
        """
        return self._predict(tile, constants, None).codes

    def predict_codes(self, raw: NDArray[Any], constants: Constants, encoding: Encoding) -> Coded:
        """Like :meth:`predict`, as stored: quantised on the device, where a byte is a byte.

        Parameters
        ----------
        raw : ndarray, shape ``self.tile``
            Grey values of any real dtype.
        constants : Constants
            The brain's normalisation.
        encoding : Encoding
            How distances are stored.

        Returns
        -------
        Coded
            ``encoding.encode(self.predict(raw, constants))``, bit for bit.
        """
        return self._predict(raw, constants, encoding)

    def self_check(self, tolerance: float | None = None) -> float:
        """Compare half precision with float32; part of every start, and cheap.

        On a GPU with the real tile, on the same GPU; and float32 there with float32 on the CPU, on
        a small tile. On a CPU with a small tile. See :mod:`neuroconn.inference.engine.self_check`.

        Parameters
        ----------
        tolerance : float, optional
            What 99.9 % of the voxels may differ by, in voxels; by default a hundredth of the
            model's clip. No voxel may differ by ten times as much.

        Returns
        -------
        float
            Largest difference, in voxels; 0 in float32 on a CPU.

        Raises
        ------
        UsageError
            If the difference exceeds the tolerance: this release computes wrongly here.
        """
        clip, small = self._source.card.clip, small_tile(self.tile, self._source.network.stride)
        found = 0.0
        if self.device == "cuda":
            on_gpu, on_cpu = self._like(tile=small), self._like(device="cpu", tile=small)
            found = compare(on_gpu, on_cpu, clip, tolerance)
        if self.precision != "float32" or self.kind != "torch":
            whole = self.device == "cuda" or small == self.tile
            fast = self if whole else self._like(self.precision, kind=self.kind, tile=small)
            exact = self._like(tile=fast.tile, trim=fast.trim)
            rounded = partial(self._rounded, exact) if tolerance is None else None
            found = max(found, compare(fast, exact, clip, tolerance, rounded))
            logger.info(
                "%s (%s) is within %.2g voxels of float32", self.precision, self.kind, found
            )
        return found

    def _like(self, precision: str = "float32", **changes: Any) -> Engine:
        """Return an engine for the same network, unchecked."""
        arguments = {"device": self.device, "precision": precision, "check": False, "slots": 1}
        return Engine(self._source, **{**arguments, **changes})

    def _rounded(self, exact: Engine) -> Engine:
        """Return an engine like ``exact`` that rounds what this one rounds: weights and results."""
        engine = exact._like(tile=exact.tile, trim=exact.trim)
        if isinstance(engine._body, TorchBody):
            round_results(engine._body.network, DTYPES[self.precision])
        return engine

    def _make_body(self) -> Body:
        network = self._source.network
        if self.kind == "openvino":
            from neuroconn.inference.engine.openvino_engine import OpenVinoBody

            return OpenVinoBody(
                network, self.precision, self.tile, self.trim, torch.get_num_threads()
            )
        return TorchBody(network, DTYPES[self.precision], self.device, self.tile, self.trim)

    def _predict(
        self, tile: NDArray[Any], constants: Constants | None, encoding: Encoding | None
    ) -> Coded:
        self._check_tile(tile, constants)
        if constants is not None and self.device == "cpu":
            # numpy knows every type of grey value; a GPU is sent fewer bytes and normalises there.
            tile, constants = constants.apply(tile), None

        out, finite, seconds = self._slots.run(tile, self.work(constants, encoding))
        if not finite:
            raise NonFiniteOutputError(
                f"the network answered NaN or infinity in {self.precision}: nothing can be stored "
                "of this tile. Try float32, and look there for absurd grey values."
            )
        return Coded(out, seconds)

    def work(self, constants: Constants | None, encoding: Encoding | None) -> Work:
        """Return what is done to a (z, y, x) tile on the device; see :func:`distances`."""

        def forward(there: Tensor) -> tuple[Tensor, Tensor]:
            with torch.inference_mode(), _arithmetic():
                x = there if constants is None else constants.apply(there)
                return distances(self._body, x[None, None], self.shape, encoding)

        return lambda there: with_less_memory(self._body, lambda: forward(there), self.tile)

    def _check_fit(self) -> None:
        network = self._source.network
        check_sides(self.tile, network.stride)
        if isinstance(network, BlackBox):
            network.check_tile(self.tile)
        if min(self.trim) < 0 or min(self.shape) < 1:
            raise HaloError(f"trim of {self.trim} leaves nothing of a tile of {self.tile}")
        check_size(network, self.tile, self.trim)

    def _check_gpu(self) -> None:
        free = gpu_memory()
        if self.memory > free:
            raise UsageError(
                f"a tile of {self.tile} needs {self.memory / 2**30:.1f} GiB, the GPU has "
                f"{free / 2**30:.1f} free: use smaller chunks, or free the GPU"
            )

    def _check_tile(self, tile: NDArray[Any], constants: Constants | None) -> None:
        if tile.shape != self.tile:
            raise HaloError(
                f"tile of shape {tile.shape} came to an engine made for {self.tile}: one shape "
                "keeps results independent of the tiling. Read whole tiles, padded at the border."
            )
        if constants is None and tile.dtype != np.float32:
            raise UsageError(
                f"tile of {tile.dtype} grey values came without normalisation constants; pass the "
                "brain's, or float32 that is normalised already"
            )


def _arithmetic() -> AbstractContextManager[None]:
    """Float32 means float32: no TF32; and kernels are timed once for the one shape."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=True, deterministic=False, allow_tf32=False
    )
    return flags
