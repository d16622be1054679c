"""How far a network sees, and whether a tiling respects it.

An output voxel depends on an interval of input voxels along each axis. The interval is found by
walking back from the output, one module after the other; where two paths meet again (a skip
connection), their hull is taken. For a core whose faces lie on the pooling grid this gives the halo
that makes a tile's core equal to the same voxels of the whole volume.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import nn

from neuroconn.errors import HaloError
from neuroconn.geometry import ZYX


class Interval(NamedTuple):
    """The voxels ``first <= i <= last`` along one axis."""

    first: int
    last: int

    def hull(self, other: Interval) -> Interval:
        """Return the smallest interval that holds both."""
        return Interval(min(self.first, other.first), max(self.last, other.last))


class Sees(Protocol):
    """A network that can say what its output depends on."""

    @property
    def stride(self) -> int:
        """Voxels per cell of the pooling grid."""
        ...

    def reach(self, output: Interval) -> Interval:
        """Input voxels the output voxels depend on."""
        ...


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """What a network sees around its output, in voxels along each axis."""

    halo_needed: int
    """Context around an aligned core that its voxels depend on."""
    halo: int
    """``halo_needed`` rounded up to the pooling grid: the halo of exact tiling."""
    stride: int
    """Pooling grid: tile origins, cores and halos are multiples of it."""
    width: int
    """Input voxels the best-connected single output voxel depends on."""


def back_through(modules: Iterable[nn.Module], output: Interval) -> Interval:
    """Walk an interval back through modules applied one after the other.

    Raises
    ------
    HaloError
        If a module mixes all voxels (InstanceNorm, GroupNorm, global pooling) or is unknown: its
        reach has no bound, so no halo makes tiles agree.
    """
    for module in reversed(list(modules)):
        output = _back(module, output)
    return output


def receptive_field(network: Sees) -> ReceptiveField:
    """Return what ``network`` sees, from its architecture alone.

    Examples
    --------
    >>> from neuroconn.network import UNet
    >>> receptive_field(UNet(levels=2, width=1))
    ReceptiveField(halo_needed=22, halo=24, stride=4, width=44)
    """
    stride = network.stride
    seen = network.reach(Interval(0, stride - 1))
    needed = max(-seen.first, seen.last - (stride - 1))
    singles = (network.reach(Interval(i, i)) for i in range(stride))
    return ReceptiveField(
        halo_needed=needed,
        halo=-(-needed // stride) * stride,
        stride=stride,
        width=max(last - first + 1 for first, last in singles),
    )


def check_exact(network: nn.Module) -> None:
    """Refuse a network whose output depends on the whole tile, whatever the halo.

    Raises
    ------
    HaloError
        If it normalises over the tile it is given: InstanceNorm, GroupNorm, LayerNorm, or
        BatchNorm without running statistics or in training mode.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.GroupNorm | nn.LayerNorm | nn.modules.instancenorm._InstanceNorm):
            raise HaloError(
                f"{name} is a {type(module).__name__}, which averages over the tile: tiles differ "
                "from the whole volume by a third of its spread at any halo. Use BatchNorm."
            )
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (
            module.training or not module.track_running_stats
        ):
            raise HaloError(
                f"{name} normalises by the statistics of its tile, so tiles would not fit "
                "together. Keep running statistics, and call eval() before predicting."
            )


def check_tiling(receptive: ReceptiveField, chunk: ZYX, halo: int | ZYX, *, exact: bool) -> None:
    """Refuse chunks and halos that would break predictions at chunk borders.

    Parameters
    ----------
    receptive : ReceptiveField
        What the network sees.
    chunk : (z, y, x) ints
        Core of a tile.
    halo : int or (z, y, x) ints
        Context read around it.
    exact : bool
        Whether tiles must equal the whole volume within rounding, not just nearly.

    Raises
    ------
    HaloError
        If cores or halos leave the pooling grid (a shift of half a cell changes the output by a
        multiple of its spread), or if ``exact`` and the halo is narrower than the receptive field.
    """
    halos = (halo,) * 3 if isinstance(halo, int) else halo
    stride = receptive.stride
    if any(c < stride or c % stride for c in chunk):
        raise HaloError(
            f"chunk of {chunk} voxels is off the network's pooling grid of {stride}: tiles would "
            f"disagree at chunk borders. Make every side a multiple of {stride}."
        )
    if any(h < 0 or h % stride for h in halos):
        low = max(0, min(halos)) // stride * stride
        raise HaloError(
            f"halo of {halo} voxels is off the network's pooling grid of {stride}: tiles would "
            f"disagree at chunk borders. Set halo: {low} or {low + stride}."
        )
    if exact and min(halos) < receptive.halo_needed:
        raise HaloError(
            f"halo of {halo} voxels is too narrow for exact tiling, the network sees "
            f"{receptive.halo_needed}: predictions would break at chunk borders. "
            f"Set halo: {receptive.halo} or more."
        )


_POINTWISE = (
    nn.BatchNorm3d,
    nn.Dropout3d,
    nn.Dropout,
    nn.Identity,
    nn.ReLU,
    nn.LeakyReLU,
    nn.Sigmoid,
)


def _back(module: nn.Module, output: Interval) -> Interval:
    if isinstance(module, nn.Sequential):
        return back_through(module, output)
    if isinstance(module, _POINTWISE):
        return output
    if isinstance(module, nn.Conv3d) and _one(module.stride) == 1:
        return _back_conv(module, output)
    if isinstance(module, nn.MaxPool3d) and _one(module.padding) == 0:
        kernel, step = _one(module.kernel_size), _one(module.stride)
        return Interval(output.first * step, output.last * step + kernel - 1)
    if isinstance(module, nn.ConvTranspose3d) and module.kernel_size == module.stride:
        step = _one(module.stride)
        return Interval(output.first // step, output.last // step)
    if isinstance(module, nn.Upsample) and module.mode == "trilinear":
        return Interval((output.first - 1) // 2, (output.last + 1) // 2)
    raise HaloError(
        f"{type(module).__name__} has no known reach: no halo makes its tiles agree with the whole "
        "volume. Use BatchNorm in place of InstanceNorm or GroupNorm."
    )


def _back_conv(conv: nn.Conv3d, output: Interval) -> Interval:
    span = _one(conv.dilation) * (_one(conv.kernel_size) - 1)
    before = _one(conv.padding)
    return Interval(output.first - before, output.last - before + span)


def _one(value: object) -> int:
    """Return the number all axes share."""
    values = set(value) if isinstance(value, tuple) else {value}
    number = values.pop()
    if values or not isinstance(number, int):
        raise HaloError(f"a module with axes of its own, {value}, has no single reach")
    return number
