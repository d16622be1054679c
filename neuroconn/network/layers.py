"""What the networks of this package are made of: blocks, heads, and the arithmetic of trimming."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuroconn.geometry import ZYX

Head: TypeAlias = Literal["relu", "sigmoid"]
"""How a distance is kept from being negative: a ReLU, or ``clip`` times a sigmoid, which also keeps
it below ``clip``. A plain sigmoid cannot reach distances beyond 1."""


def block(before: int, after: int, count: int, dropout: float) -> nn.Sequential:
    """``count`` times (convolution 3x3x3, batch normalisation, ReLU), then dropout."""
    layers: list[nn.Module] = []
    for i in range(count):
        layers += [
            nn.Conv3d(before if i == 0 else after, after, 3, padding=1),
            nn.BatchNorm3d(after),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.Dropout3d(dropout))


def to_distance(layer: nn.Conv3d, features: Tensor, head: Head, clip: float) -> Tensor:
    """Distance in voxels, (batch, 1, z, y, x), from features and a 1x1x1 output layer."""
    y = _pointwise(layer, features)
    return torch.relu(y) if head == "relu" else clip * torch.sigmoid(y)


def start_alive(layer: nn.Conv3d, head: Head, clip: float) -> None:
    """Start in the middle of the range: a ReLU that starts at 0 everywhere never learns."""
    if layer.bias is not None:
        nn.init.constant_(layer.bias, clip / 2 if head == "relu" else 0.0)


def each(values: ZYX, change: Callable[[int], int]) -> ZYX:
    """Apply ``change`` along each axis."""
    z, y, x = map(change, values)
    return z, y, x


def cut(tensor: Tensor, margin: ZYX) -> Tensor:
    """Leave out ``margin`` voxels on both faces of each axis."""
    if not any(margin):
        return tensor
    z, y, x = (slice(m, n - m) for m, n in zip(margin, tensor.shape[2:], strict=True))
    return tensor[:, :, z, y, x]


def plan_cuts(trim: ZYX, spoilt: Sequence[int]) -> list[tuple[ZYX, ZYX]]:
    """Voxels to leave out at each level of a decoder, before and after its layers, level 0 first.

    Parameters
    ----------
    trim : (z, y, x) ints
        What is not wanted of the output, on each face.
    spoilt : sequence of int
        Voxels at each face that the layers of a level get wrong when their input is cut there; as
        many must stay around those that are wanted.

    Returns
    -------
    list of ((z, y, x), (z, y, x))
        One for each level and one for the bottom, of which nothing is cut before. What is left out
        before is even, since it is left out of the level below.
    """
    cuts: list[tuple[ZYX, ZYX]] = []
    wanted = trim
    for wrong in spoilt:
        below = _halved(wanted, wrong)
        before = each(below, lambda n: 2 * n)
        z, y, x = (w - b for w, b in zip(wanted, before, strict=True))
        cuts.append((before, (z, y, x)))
        wanted = below
    return [*cuts, ((0, 0, 0), wanted)]


def check_common(*, width: int, dropout: float, head: str, clip: float) -> None:
    """Refuse arguments that no network can take.

    Raises
    ------
    ValueError
        Naming the argument.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
    if head not in ("relu", "sigmoid"):
        raise ValueError(f"head must be 'relu' or 'sigmoid', got {head!r}")
    if not 0 < clip < float("inf"):
        raise ValueError(f"clip must be positive and finite, got {clip}")


def _halved(wanted: ZYX, wrong: int) -> ZYX:
    return each(wanted, lambda n: max(0, n - wrong) // 2)


def _pointwise(layer: nn.Conv3d, x: Tensor) -> Tensor:
    """Apply a 1x1x1 convolution; as a matrix product where channels come last, 10 times faster."""
    if not x.is_contiguous(memory_format=torch.channels_last_3d):
        y: Tensor = layer(x)
        return y
    return functional.linear(x.movedim(1, -1), layer.weight.flatten(1), layer.bias).movedim(-1, 1)
