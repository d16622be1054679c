"""Finding out what a network does by running it: how far it sees, and whether it makes a map."""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuroconn.errors import HaloError, ModelError
from neuroconn.geometry import ZYX

if TYPE_CHECKING:
    from neuroconn.network.blackbox import BlackBox
    from neuroconn.network.card import ModelCard

_LONGEST = 1024
"""Longest row of voxels along which reach is looked for."""
_TRIALS = 3
_SIDE = 32


def measured_halo(network: BlackBox) -> int:
    """Context around an aligned core that a network's output depends on, rounded up to its grid.

    Along each axis a row of voxels, a few cells thick, is predicted. Where gradients can be had,
    the voxels with one are those that matter; elsewhere everything outside a growing core is
    changed until the core no longer answers. Both look at a few random images, so what they find is
    a lower bound, short by a voxel or two at most in practice; rounding up mostly covers that.

    Raises
    ------
    HaloError
        If it sees everything that was tried: it normalises over its tile, or is very deep.
    """
    needed = max(_axis_reach(network, axis) for axis in range(3))
    return -(-needed // network.stride) * network.stride


def _axis_reach(network: BlackBox, axis: int) -> int:
    stride, fixed = network.stride, network.about.tile
    length = fixed[axis] if fixed else 16 * stride + 64 // stride * stride
    while True:
        shape = list(fixed or [2 * stride * max(1, 8 // stride)] * 3)
        shape[axis] = length
        reach = _reach(network, (shape[0], shape[1], shape[2]), axis)
        # A cell in the middle has this much on its shorter side.
        if reach < (length - stride) // 2 // stride * stride:
            return reach
        length *= 2
        if fixed or length > _LONGEST:
            raise HaloError(
                "the model's output depends on the whole tile, so no halo makes its tiles fit "
                "together: it has InstanceNorm, GroupNorm or global pooling, or sees more than "
                f"{_LONGEST // 2} voxels. Leave exact mode out, or state architecture.halo."
            )


def _reach(network: BlackBox, shape: ZYX, axis: int) -> int:
    """Largest distance from a cell in the middle at which the image matters, along one axis."""
    find = _by_gradient if network.differentiable else _by_change
    random = torch.Generator().manual_seed(0)
    images = (torch.randn(1, 1, *shape, generator=random) for _ in range(_TRIALS))
    return max(find(network, image, axis) for image in images)


def _by_gradient(network: BlackBox, image: Tensor, axis: int) -> int:
    first, last = _cell(network, image, axis)
    image.requires_grad_()
    with torch.enable_grad():
        cell = network.features(image).narrow(2 + axis, first, last - first)
        (cell * torch.linspace(0.5, 1.5, cell.numel()).view_as(cell)).sum().backward()  # type: ignore[no-untyped-call]
    gradient = image.grad
    if gradient is None:
        return image.shape[2 + axis]
    others = tuple(d for d in range(5) if d != 2 + axis)
    seen = torch.nonzero(gradient.abs().amax(dim=others))
    if seen.numel() == 0:
        return 0
    return max(first - int(seen.min()), int(seen.max()) - (last - 1), 0)


def _by_change(network: BlackBox, image: Tensor, axis: int) -> int:
    """Bisect for the smallest core around the cell outside of which nothing matters."""
    first, last = _cell(network, image, axis)
    before = network.features(image).narrow(2 + axis, first, last - first)
    other = torch.randn(image.shape, generator=torch.Generator().manual_seed(1)) * 3

    def matters(halo: int) -> bool:
        """Whether anything more than ``halo`` away does."""
        changed, start = other.clone(), max(0, first - halo)
        kept = min(image.shape[2 + axis], last + halo) - start
        changed.narrow(2 + axis, start, kept).copy_(image.narrow(2 + axis, start, kept))
        after = network.features(changed).narrow(2 + axis, first, last - first)
        return not torch.equal(before, after)

    low, high = -1, max(first, image.shape[2 + axis] - last)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if matters(middle) else (low, middle)
    return high


def _cell(network: BlackBox, image: Tensor, axis: int) -> tuple[int, int]:
    stride = network.stride
    first = image.shape[2 + axis] // 2 // stride * stride
    return first, first + stride


def check_map(network: BlackBox, card: ModelCard) -> None:
    """Refuse a model that does not answer an image with a map of distances.

    It is shown one tile of noise crossed by bright lines.

    Raises
    ------
    ModelError
        If the answer has another shape, is not finite, lies outside what the card says, is the same
        everywhere, or is larger on the lines than beside them.
    """
    side = network.stride * -(-_SIDE // network.stride)
    grey, lines = _test_image(network.about.tile or (side, side, side))
    if card.normalisation.kind == "fixed":
        # Whatever grey values it was made for, its input is of about this size.
        image = (grey.astype(np.float32) - 100) / 100
    else:
        image = card.normalisation.constants(_statistics(grey)).apply(grey)
    with torch.inference_mode():
        raw = network.features(torch.from_numpy(image)[None, None]).float()
        distance = network.head(raw)[0, 0].numpy()
    _check_range(raw, network, card.clip)
    on, off = float(distance[lines].mean()), float(distance[~lines].mean())
    if np.ptp(distance) < 1e-4 * card.clip:
        raise ModelError(
            f"the model answers {off:.3g} everywhere on a test image with bright lines: it is no "
            "map of distances. Look at the normalisation in its card."
        )
    if on > off + 0.01 * card.clip:
        raise ModelError(
            f"the model's distances are larger on bright lines ({on:.3g}) than beside them "
            f"({off:.3g}): is it a probability of neurite? Then say so in its card "
            "(architecture.output: probability)."
        )


def _check_range(raw: Tensor, network: BlackBox, clip: float) -> None:
    if not bool(torch.isfinite(raw).all()):
        raise ModelError("the model answers NaN or infinity to a test image")
    probability = network.about.output == "probability"
    scale, top = (1.0, 1.0) if probability else (network.about.scale, 2 * clip)
    low, high = float(raw.min()) * scale, float(raw.max()) * scale
    if low < -0.1 * top or high > 1.1 * top:
        what = "probabilities from 0 to 1" if probability else f"distances from 0 to {clip:g}"
        raise ModelError(
            f"the model answers {low:.3g} to {high:.3g} to a test image, not {what}: correct "
            "output, scale or clip in its card"
        )


def _test_image(shape: ZYX) -> tuple[np.ndarray, np.ndarray]:
    """Grey values around 100 with three lines of 400, and where the lines are."""
    random = np.random.default_rng(0)
    lines = np.zeros(shape, bool)
    z, y, x = (n // 2 for n in shape)
    lines[z - 1 : z + 2, y - 1 : y + 2, :] = True
    lines[z // 2 : z // 2 + 2, :, x : x + 2] = True
    lines[:, y // 2, x // 2] = True
    grey = np.where(lines, 400, 100) + random.normal(0, 10, shape)
    return np.rint(grey).clip(0, 65535).astype(np.uint16), lines


def _statistics(image: np.ndarray) -> dict[str, object]:
    """Return what a converter would say of a brain that looks like this."""
    median = float(np.median(image))
    counts = np.bincount(image.ravel(), minlength=1 << 16)
    points = (0.1, 1, 5, 25, 50, 75, 90, 99, 99.9, 99.99)
    return {
        "min": int(image.min()),
        "max": int(image.max()),
        "mean": float(image.mean()),
        "mad": float(np.median(np.abs(image - median))),
        "percentiles": {f"{q:g}": float(np.percentile(image, q)) for q in points},
        "zeros": float((image == 0).mean()),
        "histogram": base64.b64encode(zlib.compress(counts.astype("<i8").tobytes())).decode(),
    }
