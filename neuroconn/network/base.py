"""What every network of this package offers to training and inference."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn

from neuroconn.errors import HaloError
from neuroconn.geometry import ZYX
from neuroconn.network.receptive import Interval


class Activations(NamedTuple):
    """Sizes of intermediate tensors, in elements."""

    largest: int
    """Elements of the largest one."""
    peak: int
    """Most elements alive at once."""


class Network(nn.Module, ABC):
    """An image in, a distance map out, of the same shape.

    The forward pass is ``head(features(x))``. The two halves are apart because the engine runs the
    features in half precision and the head in float32: the spacing of bfloat16 between 8 and 10
    voxels is 1/16, coarser than the stored map.
    """

    divisible = False
    """Whether :meth:`slabs` takes less memory than :meth:`features`."""
    castable = True
    """Whether its body may be cast to half precision, the head apart."""

    @abstractmethod
    def features(self, x: Tensor, trim: ZYX = (0, 0, 0)) -> Tensor:
        """Features at full resolution, (batch, channels, z, y, x), of a normalised image.

        ``trim`` voxels are left out on both faces of each axis. They are never computed where that
        can be avoided: in a tile with a wide halo most of the work lies outside the core.
        """

    @abstractmethod
    def head(self, features: Tensor) -> Tensor:
        """Distance in voxels, (batch, 1, z, y, x), not negative."""

    @property
    @abstractmethod
    def stride(self) -> int:
        """Voxels per coarsest cell; input sides and tile origins are multiples of it."""

    @property
    def exact_grid(self) -> int:
        """Grid that origins of exact tiles have to lie on; the pooling grid, or coarser."""
        return self.stride

    @abstractmethod
    def reach(self, output: Interval) -> Interval:
        """Input voxels, along one axis, that the ``output`` voxels depend on."""

    @property
    @abstractmethod
    def output_layer(self) -> nn.Conv3d:
        """The layer whose output becomes the distance; it belongs to :meth:`head`."""

    @abstractmethod
    def activations(
        self, tile: ZYX, trim: ZYX = (0, 0, 0), planes: int | None = None
    ) -> Activations:
        """Sizes of the tensors that :meth:`features` makes of one tile, or :meth:`slabs` of it."""

    def slabs(
        self, x: Tensor, trim: ZYX = (0, 0, 0), planes: int | None = None
    ) -> Iterator[Tensor]:
        """Yield what :meth:`features` returns, cut along z, in less memory where that is known.

        Each slab sees all the context it depends on, so their values are those of the whole, but
        for the order in which a kernel may add them up.

        Parameters
        ----------
        x : Tensor, shape (1, channels, z, y, x)
            Normalised intensities.
        trim : (z, y, x) ints, optional
            As for :meth:`features`.
        planes : int, optional
            Output planes to a slab; None for all at once.
        """
        yield self.features(x, trim)

    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """Name and arguments that :func:`neuroconn.network.registry.build` rebuilds this from."""

    def forward(self, x: Tensor) -> Tensor:
        """Distance in voxels of every voxel of a normalised image.

        Parameters
        ----------
        x : Tensor, shape (batch, channels, z, y, x)
            Normalised intensities; z, y and x are multiples of :attr:`stride`.

        Returns
        -------
        Tensor, shape (batch, 1, z, y, x)

        Raises
        ------
        HaloError
            If a side is not a multiple of the stride: pooling would drop its last planes.
        """
        check_sides(tuple(x.shape[-3:]), self.stride)
        return self.head(self.features(x))


def check_sides(shape: tuple[int, ...], stride: int) -> None:
    """Refuse a tile whose (z, y, x) sides are not multiples of ``stride``."""
    if any(n < stride or n % stride for n in shape):
        raise HaloError(
            f"tile of shape {shape} does not fit a network with stride {stride}: pooling would "
            f"drop its last planes. Make every side a multiple of {stride}."
        )
