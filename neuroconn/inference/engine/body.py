"""The computation of one tile in torch: features in the body's arithmetic, the head in float32.

Memory is spent on features at full resolution. When the device runs out of it, they are made in
slabs instead, each with the context it depends on: the same values, from less memory and a quarter
more work. The tile, and with it the result, stays what it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from neuroconn.errors import UsageError
from neuroconn.geometry import ZYX
from neuroconn.inference.encoding import Encoding
from neuroconn.inference.engine.folding import prepare
from neuroconn.network.base import Network

logger = logging.getLogger(__name__)

T = TypeVar("T")

_SLAB_BYTES = {"cpu": 1 << 20, "cuda": 1 << 28}
"""Float32 features the head takes at a time: a CPU's cache, or few kernel launches on a GPU."""
_LEAST_PLANES = 8
"""Thinner slabs are mostly context, and save nothing."""


class Body(Protocol):
    """A network bound to one tile shape."""

    def features(self, x: Tensor) -> Iterator[Tensor]:
        """Features of a normalised (1, 1, z, y, x) float32 tile, slab after slab along z."""
        ...

    def head(self, features: Tensor) -> Tensor:
        """Distances of some features, both float32."""
        ...

    def shrink(self) -> bool:
        """Use less memory from now on; False if that is not possible."""
        ...


class TorchBody:
    """A network of this package, folded, laid out and cast for a device.

    Parameters
    ----------
    network : Network
        As trained; it is copied.
    dtype : torch.dtype
        Arithmetic of the features.
    device : str
    tile, trim : (z, y, x) ints
        Shape of every tile, and what is left out of the output on each face.
    """

    def __init__(
        self, network: Network, dtype: torch.dtype, device: str, tile: ZYX, trim: ZYX
    ) -> None:
        self.network = prepare(network, dtype, device)
        self.planes: int | None = None
        self._dtype, self._trim = dtype, trim
        self._depth = tile[0] - 2 * trim[0]

    def features(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the whole at once, or slabs after :meth:`shrink`."""
        laid_out = x.to(self._dtype, memory_format=torch.channels_last_3d)
        yield from self.network.slabs(laid_out, self._trim, self.planes)

    def head(self, features: Tensor) -> Tensor:
        """Apply the output layer."""
        return self.network.head(features)

    def shrink(self) -> bool:
        """Halve the slabs, from a quarter of the tile down to a few planes."""
        now = self.planes or -(-self._depth // 2)
        fewer = max(_LEAST_PLANES, now // 2)
        if not self.network.divisible or fewer >= (self.planes or self._depth):
            return False
        self.planes = fewer
        return True


def distances(
    body: Body, x: Tensor, shape: ZYX, encoding: Encoding | None
) -> tuple[Tensor, Tensor]:
    """Predict one tile on its device.

    Parameters
    ----------
    body : Body
        The network.
    x : Tensor, shape (1, 1, z, y, x)
        Normalised grey values, float32.
    shape : (z, y, x) ints
        Of the output.
    encoding : Encoding, optional
        How distances are stored; without it they are returned as they are, float32.

    Returns
    -------
    (Tensor, Tensor)
        Codes or distances, and a number that is finite if every feature and distance is.
    """
    out = torch.empty(shape, dtype=_dtype(encoding), device=x.device)
    total = torch.zeros((), device=x.device)
    z = 0
    for features in body.features(x):
        planes = _planes(features, _SLAB_BYTES[x.device.type])
        for part in torch.split(features, planes, dim=2):
            slab = part.to(torch.float32, memory_format=torch.channels_last_3d)
            distance = body.head(slab)[0, 0]
            # A ReLU turns -infinity into 0, which is a distance: look before the head as well.
            total += slab.sum() + distance.sum()
            out[z : z + len(distance)] = quantise(distance, encoding)
            z += len(distance)
    return out, total


def quantise(distance: Tensor, encoding: Encoding | None) -> Tensor:
    """Do what ``encoding.encode`` does, on the device and to the bit.

    Examples
    --------
    >>> quantise(torch.tensor([-1.0, 0.02, 5.0, 99.0]), Encoding("uint8", clip=10.0))
    tensor([  0,   0, 125, 250], dtype=torch.uint8)
    """
    if encoding is None:
        return distance
    inside = distance.clamp(0.0, encoding.clip)
    if encoding.steps:
        inside = inside.mul(encoding.steps / encoding.clip).round_()
    return inside.to(_dtype(encoding))


def with_less_memory(body: Body, work: Callable[[], T], tile: ZYX) -> T:
    """Do ``work``, with a smaller body each time memory runs out.

    Raises
    ------
    UsageError
        If it runs out with the smallest body too.
    """
    while True:
        try:
            return work()
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_shortage(error):
                raise
            reason = str(error).splitlines()[0]
        # Out of the handler: its traceback would keep the tensors alive.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if not body.shrink():
            raise UsageError(
                f"out of memory on a tile of {tile}, in the smallest slabs too ({reason}): use "
                "smaller chunks, fewer workers to a machine, or free the device"
            )
        logger.warning("out of memory on a tile of %s; going on in smaller slabs", tile)


def _is_shortage(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in ("can't allocate memory", "ALLOC_FAILED"))


def _dtype(encoding: Encoding | None) -> torch.dtype:
    name = "float32" if encoding is None else encoding.dtype
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _planes(features: Tensor, budget: int) -> int:
    """How many planes of float32 features fit into ``budget`` bytes."""
    _, channels, _, y, x = features.shape
    return max(1, budget // (4 * channels * y * x))
