"""The overlay: raw image plus nearness to a neurite, one global scale for the whole brain.

Every voxel depends on its own raw value and distance only, so tiles show no seams whatever their
size, and two exports with the same settings agree voxel by voxel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from neuroconn.config.overlay import OverlaySettings
from neuroconn.errors import UsageError

Unexplored = Literal["raw", "null"]

SIGNED_LIMIT = 32767
"""Vaa3D's 3D viewer reads 16-bit files opened directly as signed: brighter voxels turn negative."""


@dataclass(frozen=True, slots=True)
class Window:
    """The raw intensities shown as black and white; one pair for a whole brain."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise UsageError(
                f"an intensity window needs low < high, got {self.low} to {self.high}: "
                f"set other percentiles"
            )


def overlay(
    raw: NDArray[Any],
    distance: NDArray[np.floating[Any]],
    settings: OverlaySettings,
    window: Window,
    *,
    dtype: DTypeLike = np.uint16,
    peak: int | None = None,
    unexplored: Unexplored = "raw",
) -> NDArray[Any]:
    """Mix image and nearness into a grey volume that Vaa3D can show and trace.

    With nearness ``p = (1 - min(d, clip) / clip) ** power`` and brightness
    ``n = (raw - low) / (high - low)``, cut to 0..1, a voxel is
    ``peak * (image * n + factor * p) / (image + factor)``, rounded. Where nobody looked it is
    ``peak * n / (1 + factor)``, or 0: what the image has in the usual overlay, with ``image = 1``.

    Parameters
    ----------
    raw : ndarray, shape (z, y, x)
        The brain.
    distance : ndarray of float, shape (z, y, x)
        Voxels to the nearest neurite; NaN where nobody looked.
    settings : OverlaySettings
        Clip, power and factor.
    window : Window
        Raw intensities of black and white.
    dtype : uint8 or uint16
        Signed output is refused: it would overflow.
    peak : int, optional
        The brightest value; by default 255 or 65535. 32767 for single 16-bit files.
    unexplored : "raw" or "null"
        Whether voxels without a distance show the raw term alone, or are black.

    Returns
    -------
    ndarray of ``dtype``, shape (z, y, x)

    Examples
    --------
    >>> raw, near = np.zeros((1, 1, 2)), np.array([[[0.0, 6.0]]])
    >>> overlay(raw, near, OverlaySettings(), Window(0, 100))
    array([[[43690,     0]]], dtype=uint16)
    """
    kind = np.dtype(dtype)
    if kind not in (np.uint8, np.uint16):
        raise UsageError(f"an overlay is uint8 or uint16, not {kind}: signed voxels overflow")
    _check_shapes(raw, distance)
    top = int(np.iinfo(kind).max) if peak is None else peak
    values = np.empty(raw.shape, dtype=kind)
    for z in range(len(raw)):  # plane by plane: float64 temporaries stay small
        values[z] = _mixed(raw[z], distance[z], settings, window, top, unexplored)
    return values


def formula(settings: OverlaySettings, window: Window, peak: int, unexplored: Unexplored) -> str:
    """Say in one line how voxels are made, with all constants, for the record of an export.

    Examples
    --------
    >>> value, _, rest = formula(OverlaySettings(), Window(10, 90), 255, "null").partition(", n = ")
    >>> value
    'floor(255 * (1 * n + 2 * p) / 3 + 0.5)'
    >>> rest
    'clip((raw - 10) / 80, 0, 1), p = (1 - clip(distance, 0, 6) / 6) ** 2; 0 where nobody looked'
    """
    s, span = settings, window.high - window.low
    near = f"p = (1 - clip(distance, 0, {s.clip:g}) / {s.clip:g}) ** {s.power:g}"
    bright = f"n = clip((raw - {window.low:g}) / {span:g}, 0, 1)"
    if s.colour == "rgb":
        value, dim = "red = blue = floor(255 * n + 0.5), green = floor(255 * p + 0.5)", "green = 0"
    else:
        value = (
            f"floor({peak} * ({s.image:g} * n + {s.factor:g} * p) / {s.image + s.factor:g} + 0.5)"
        )
        dim = f"floor({peak} * n / {1 + s.factor:g} + 0.5)"
    return f"{value}, {bright}, {near}; {'0' if unexplored == 'null' else dim} where nobody looked"


def rgb(
    raw: NDArray[Any],
    distance: NDArray[np.floating[Any]],
    settings: OverlaySettings,
    window: Window,
    *,
    unexplored: Unexplored = "raw",
) -> NDArray[np.uint8]:
    """Show the image in magenta and nearness in green, for pictures and single files.

    Never for a TeraFly tree: one RGB tile crashes it.

    Returns
    -------
    ndarray of uint8, shape (z, y, x, 3)
        Red and blue carry brightness, green carries nearness.

    Examples
    --------
    >>> rgb(np.full((1, 1, 1), 50), np.zeros((1, 1, 1)), OverlaySettings(), Window(0, 100))
    array([[[[128, 255, 128]]]], dtype=uint8)
    """
    _check_shapes(raw, distance)
    colours = np.empty((*raw.shape, 3), dtype=np.uint8)
    for z in range(len(raw)):
        bright = np.floor(255 * brightness(raw[z], window) + 0.5)
        green = np.floor(255 * nearness(distance[z], settings) + 0.5)
        if unexplored == "null":
            bright[np.isnan(distance[z])] = 0
        colours[z] = np.stack([bright, green, bright], axis=-1)
    return colours


def nearness(distance: NDArray[np.floating[Any]], settings: OverlaySettings) -> NDArray[np.float64]:
    """Return 1 on a neurite, falling to 0 at ``clip`` voxels; 0 where nobody looked (NaN)."""
    clip = settings.clip
    known = np.nan_to_num(distance, copy=True, nan=clip).astype(np.float64, copy=False)
    near: NDArray[np.float64] = (1 - np.clip(known, 0, clip) / clip) ** settings.power
    return near


def brightness(raw: NDArray[Any], window: Window) -> NDArray[np.float64]:
    """Return raw intensity as 0 (at ``window.low`` and below) to 1 (at ``window.high``)."""
    span = window.high - window.low
    return np.clip((raw.astype(np.float64) - window.low) / span, 0, 1)


def _mixed(
    raw: NDArray[Any],
    distance: NDArray[np.floating[Any]],
    settings: OverlaySettings,
    window: Window,
    peak: int,
    unexplored: Unexplored,
) -> NDArray[np.float64]:
    """Overlay of one plane, rounded."""
    bright, absent = brightness(raw, window), np.isnan(distance)
    mixed = settings.image * bright + settings.factor * nearness(distance, settings)
    plane = peak * mixed / (settings.image + settings.factor)
    if unexplored == "null":
        plane[absent] = 0
    elif settings.image != 1:
        plane[absent] = peak * bright[absent] / (1 + settings.factor)
    return np.floor(plane + 0.5)


def avoid_powers_of_two(values: NDArray[Any]) -> NDArray[Any]:
    """Lower exact powers of two by one, and 1 and 2 to 0, in 16-bit volumes.

    TeraFly stretches each 16-bit view by its own maximum, and shows the brightest voxels of a view
    black when that maximum is a power of two. Without such voxels no view can meet the fault.
    Volumes of uint8 are shown as they are and returned unchanged.

    Examples
    --------
    >>> avoid_powers_of_two(np.array([0, 1, 2, 3, 4, 4096, 65535], dtype=np.uint16))
    array([    0,     0,     0,     3,     3,  4095, 65535], dtype=uint16)
    """
    if values.dtype != np.uint16:
        return values
    below = values - np.uint16(1)  # wraps at 0, where it does no harm
    stepped = np.where(values & below == 0, below, values)
    stepped[values <= 2] = 0
    return stepped


def _check_shapes(raw: NDArray[Any], distance: NDArray[Any]) -> None:
    if raw.shape != distance.shape or raw.ndim != 3:
        raise ValueError(
            f"raw and distance must be (z, y, x) of one shape, got {raw.shape}, {distance.shape}"
        )
