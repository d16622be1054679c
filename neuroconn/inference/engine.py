"""A network, a device and one tile shape: grey values in, distances out.

The engine runs the body of the network in half precision where the hardware has it and its head in
float32, on tensors with channels last, with batch normalisation folded away. Every tile has the
same shape: kernels are chosen once, and a voxel's result never depends on how the brain was cut.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroconn.errors import HaloError, UsageError
from neuroconn.geometry import ZYX
from neuroconn.inference.engine_device import DTYPES, check_size, choose, predict_memory
from neuroconn.inference.engine_errors import NonFiniteOutputError
from neuroconn.inference.engine_prepare import prepare
from neuroconn.inference.engine_staging import Staging
from neuroconn.network.allocator import keep_pages
from neuroconn.network.base import check_sides
from neuroconn.network.normalisation import Constants
from neuroconn.network.weights import Model

__all__ = ["Engine", "NonFiniteOutputError", "choose", "predict_memory"]

_SLAB_BYTES = {"cpu": 1 << 20, "cuda": 1 << 28}
"""Float32 features the head takes at a time: a CPU's cache, or few kernel launches on a GPU."""


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
    check : bool, optional
        Whether to compare half precision with float32 on one tile first; by default on GPUs only,
        where some releases compute wrongly.

    Raises
    ------
    UsageError
        If the device or the precision is not there, or the tile does not fit the GPU's memory.
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
        check: bool | None = None,
    ) -> None:
        self.device, self.precision = choose(device, precision)
        self.tile, self.trim = tile, (trim,) * 3 if isinstance(trim, int) else trim
        self._source = model
        self._check_fit()
        if self.device == "cpu":
            keep_pages()
            if threads is not None:
                torch.set_num_threads(threads)
        self._network = prepare(model.network, DTYPES[self.precision], self.device)
        self._staging = Staging(self.device)
        self._lock = threading.Lock()
        if check if check is not None else self.device == "cuda":
            self.self_check()

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

        Threads may call it at the same time; they take turns.

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
            If raw grey values come without constants.
        NonFiniteOutputError
            If a feature or a distance is NaN or infinite. Stored as a number it would read as "on
            the neurite", or end the walk.
        """
        self._check_tile(tile, constants)
        with self._lock, torch.inference_mode(), self._arithmetic():
            distance, total = self._forward(self._load(tile, constants)[None, None])
            out = self._staging.download(distance)
            finite = bool(torch.isfinite(total))
        if not finite or not np.isfinite(out).all():
            raise NonFiniteOutputError(
                f"the network answered NaN or infinity in {self.precision}: nothing can be stored "
                "of this tile. Try float32, and look there for absurd grey values."
            )
        return out

    def self_check(self, tolerance: float | None = None) -> float:
        """Compare this engine with float32 on the same device, on one tile of noise and lines.

        Parameters
        ----------
        tolerance : float, optional
            What 99.9 % of the voxels may differ by, in voxels; by default a hundredth of the
            model's clip. Single voxels may differ by ten times as much: rounding grows where the
            network is undecided, while a wrong kernel spoils whole regions.

        Returns
        -------
        float
            Largest difference, in voxels; 0 in float32.

        Raises
        ------
        UsageError
            If the difference exceeds the tolerance: this release computes wrongly here.
        """
        if self.precision == "float32":
            return 0.0
        limit = self._source.card.clip / 100 if tolerance is None else tolerance
        tile = sample_tile(self.tile)
        found = self.predict(tile)
        exact = Engine(
            self._source, device=self.device, precision="float32", tile=self.tile, trim=self.trim
        )
        error = np.abs(found - exact.predict(tile))
        common, difference = float(np.percentile(error, 99.9)), float(error.max())
        if common > limit or difference > 10 * limit:
            raise UsageError(
                f"{self.precision} on this {self.device} differs from float32 by {common:.3g} "
                f"voxels (at most {difference:.3g}), more than {limit:g}: torch "
                f"{torch.__version__} computes wrongly here. Set precision: float32, or install "
                "another release of torch."
            )
        return difference

    def _load(self, tile: NDArray[Any], constants: Constants | None) -> Tensor:
        """Bring a tile to the device, normalised: on a GPU there, from fewer bytes."""
        if constants is None:
            return self._staging.upload(tile)
        if self.device == "cpu":
            return self._staging.upload(constants.apply(tile))
        return constants.apply(self._staging.upload(tile))

    def _forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distance of a (1, 1, z, y, x) tile, and a number that is finite if all is."""
        body = x.to(DTYPES[self.precision], memory_format=torch.channels_last_3d)
        features = self._network.features(body, self.trim)
        out = torch.empty(self.shape, device=features.device)
        total = torch.zeros((), device=features.device)
        planes = _planes(features, _SLAB_BYTES[self.device])
        for z in range(0, self.shape[0], planes):
            slab = features[:, :, z : z + planes]
            slab = slab.to(torch.float32, memory_format=torch.channels_last_3d)
            # A ReLU turns -infinity into 0, which is a distance: look before the head.
            total += slab.sum()
            out[z : z + planes] = self._network.head(slab)[0, 0]
        return out, total

    def _arithmetic(self) -> AbstractContextManager[None]:
        """Float32 means float32: no TF32; and kernels are timed once for the one shape."""
        flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
            enabled=True, benchmark=True, deterministic=False, allow_tf32=False
        )
        return flags

    def _check_fit(self) -> None:
        network = self._source.network
        check_sides(self.tile, network.stride)
        if min(self.trim) < 0 or min(self.shape) < 1:
            raise HaloError(f"trim of {self.trim} leaves nothing of a tile of {self.tile}")
        check_size(network, self.tile, self.trim)
        if self.device == "cuda":
            free, _ = torch.cuda.mem_get_info()
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


def sample_tile(shape: ZYX) -> NDArray[np.float32]:
    """Normalised noise crossed by bright lines: the same tile on every machine.

    Returns
    -------
    ndarray of float32, shape ``shape``
    """
    tile = np.random.default_rng(0).normal(0.0, 0.15, shape).astype(np.float32)
    z, y, x = (n // 2 for n in shape)
    tile[z, y, :] += 1.5
    tile[z, :, x] += 1.0
    tile[:, y, x] += 0.5
    return tile


def _planes(features: Tensor, budget: int) -> int:
    """How many planes of float32 features fit into ``budget`` bytes."""
    _, channels, _, y, x = features.shape
    return max(1, budget // (4 * channels * y * x))
