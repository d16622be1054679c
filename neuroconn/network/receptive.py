"""How far a network sees, and whether a tiling respects it.

An output voxel depends on an interval of input voxels along each axis. The interval is found by
walking back from the output, one module after the other; where two paths meet again (a skip
connection), their hull is taken. For a core whose faces lie on the pooling grid this gives the halo
that makes a tile's core equal to the same voxels of the whole volume.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

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


@runtime_checkable
class WalksBack(Protocol):
    """A module of more than one path, which knows its own reach."""

    def back(self, output: Interval) -> Interval:
        """Input of this module that its ``output`` depends on, along one axis."""
        ...


class Sees(Protocol):
    """A network that can say what its output depends on."""

    @property
    def stride(self) -> int:
        """Voxels per cell of the pooling grid."""
        ...

    @property
    def exact_grid(self) -> int:
        """Grid that origins of exact tiles have to lie on."""
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
    """``halo_needed`` rounded up to the grid of exact tiles: the halo of exact tiling."""
    stride: int
    """Pooling grid: tile origins, cores and halos are multiples of it."""
    width: int
    """Input voxels the best-connected single output voxel depends on."""
    grid: int = 1
    """Grid of exact tiles where that is coarser than the pooling grid, else 1."""


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
    ReceptiveField(halo_needed=22, halo=24, stride=4, width=44, grid=1)
    """
    stride, grid = network.stride, network.exact_grid
    seen = network.reach(Interval(0, grid - 1))
    needed = max(-seen.first, seen.last - (grid - 1), 0)
    singles = (network.reach(Interval(i, i)) for i in range(grid))
    return ReceptiveField(
        halo_needed=needed,
        halo=-(-needed // grid) * grid,
        stride=stride,
        width=max(last - first + 1 for first, last in singles),
        grid=grid if grid != stride else 1,
    )


def check_exact(network: nn.Module) -> None:
    """Refuse a network whose output depends on the whole tile, whatever the halo.

    Raises
    ------
    HaloError
        If it normalises over the tile it is given (see :func:`check_statistics`), or pools all of
        it into one number, as squeeze-and-excitation does.
    """
    check_statistics(network)
    for name, module in network.named_modules():
        if isinstance(module, _GLOBAL):
            raise HaloError(
                f"{name} is a {type(module).__name__}, which pools the whole tile into one number "
                "(squeeze-and-excitation): at no halo do tiles equal the whole volume. Leave exact "
                "mode out, or take a network without it."
            )


def check_statistics(network: nn.Module) -> None:
    """Refuse a network that normalises over the tile it is given.

    Raises
    ------
    HaloError
        If it has InstanceNorm, GroupNorm, LayerNorm, or BatchNorm without running statistics or in
        training mode.
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
    step = max(receptive.stride, receptive.grid) if exact else receptive.stride
    name = "grid of exact tiles" if exact and receptive.grid > 1 else "pooling grid"
    if any(c < step or c % step for c in chunk):
        raise HaloError(
            f"chunk of {chunk} voxels is off the network's {name} of {step}: tiles would "
            f"disagree at chunk borders. Make every side a multiple of {step}."
        )
    if any(h < 0 or h % step for h in halos):
        low = max(0, min(halos)) // step * step
        raise HaloError(
            f"halo of {halo} voxels is off the network's {name} of {step}: tiles would "
            f"disagree at chunk borders. Set halo: {low} or {low + step}."
        )
    if exact and min(halos) < receptive.halo_needed:
        raise HaloError(
            f"halo of {halo} voxels is too narrow for exact tiling, the network sees "
            f"{receptive.halo_needed}: predictions would break at chunk borders. "
            f"Set halo: {receptive.halo} or more."
        )


_GLOBAL = (nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d)

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
    if isinstance(module, WalksBack):
        return module.back(output)
    if isinstance(module, nn.Sequential):
        return back_through(module, output)
    if isinstance(module, _POINTWISE):
        return output
    if isinstance(module, nn.Conv3d):
        return _back_window(module, output)
    if isinstance(module, nn.MaxPool3d):
        return _back_window(module, output)
    if isinstance(module, nn.ConvTranspose3d):
        return _back_transposed(module, output)
    if isinstance(module, nn.Upsample):
        return _back_upsampled(module, output)
    raise HaloError(
        f"{type(module).__name__} has no known reach: no halo makes its tiles agree with the whole "
        "volume. Use BatchNorm in place of InstanceNorm or GroupNorm, and no global pooling."
    )


def _back_window(module: nn.Conv3d | nn.MaxPool3d, output: Interval) -> Interval:
    """Walk back through a window that slides over its padded input."""
    step, before = _one(module.stride), _one(module.padding)
    span = _one(module.dilation) * (_one(module.kernel_size) - 1)
    return Interval(output.first * step - before, output.last * step - before + span)


def _back_transposed(module: nn.ConvTranspose3d, output: Interval) -> Interval:
    """Input ``i`` is spread over outputs ``i * stride - padding`` and the following ones."""
    step, before = _one(module.stride), _one(module.padding)
    span = _one(module.dilation) * (_one(module.kernel_size) - 1)
    return Interval(-((span - before - output.first) // step), (output.last + before) // step)


def _back_upsampled(module: nn.Upsample, output: Interval) -> Interval:
    factor = module.scale_factor
    if isinstance(factor, tuple) or factor is None or factor != int(factor):
        raise HaloError(f"an upsampling by {factor} has no single reach")
    factor = int(factor)
    if module.mode == "nearest":
        return Interval(output.first // factor, output.last // factor)
    if module.mode == "trilinear" and not module.align_corners:
        # Output i lies at (2 i + 1 - factor) / (2 factor) of the input, between two of its voxels.
        below, above = (2 * i + 1 - factor for i in output)
        return Interval(below // (2 * factor), -(-above // (2 * factor)))
    raise HaloError(f"an upsampling in mode {module.mode} has no known reach")


def _one(value: object) -> int:
    """Return the number all axes share."""
    values = set(value) if isinstance(value, tuple) else {value}
    number = values.pop()
    if values or not isinstance(number, int):
        raise HaloError(f"a module with axes of its own, {value}, has no single reach")
    return number
