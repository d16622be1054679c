"""The same tissue as Vaa3D gets to see it: raw or overlaid, as a TeraFly tree or as one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuroconn.config.overlay import OverlaySettings
from neuroconn.vaa3d.overlay import (
    SIGNED_LIMIT,
    Unexplored,
    Window,
    avoid_powers_of_two,
    overlay,
)
from neuroconn.vaa3d.shown import as_opened_directly, as_shown_by_terafly

Opening = Literal["terafly-16", "terafly-8", "file-16"]
OPENINGS: tuple[Opening, ...] = ("terafly-16", "terafly-8", "file-16")
"""A TeraFly tree of 16 or 8 bits, and a single 16-bit file opened in the 3D viewer."""

RAW = "raw"
"""Name of the brain as it is, beside the presets of overlays."""


@dataclass(frozen=True, slots=True)
class Display:
    """One way to look at a brain."""

    name: str
    """``raw`` or an overlay preset."""
    opening: Opening

    def __str__(self) -> str:
        return f"{self.name}, {self.opening}"


def displays(
    raw: NDArray[Any],
    distance: NDArray[np.floating[Any]],
    presets: Mapping[str, tuple[OverlaySettings, Window]],
    unexplored: Unexplored = "raw",
) -> Iterator[tuple[Display, NDArray[Any]]]:
    """Yield a view in every way, as Vaa3D's markers are placed in it.

    Parameters
    ----------
    raw : ndarray of uint8 or uint16, shape (z, y, x)
        The brain in a view.
    distance : ndarray of float, same shape
        Voxels to the nearest neurite; NaN where nobody looked.
    presets : mapping of name to (OverlaySettings, Window)
        Grey overlays and the intensities they show.
    unexplored : "raw" or "null"
        As for an export.

    Yields
    ------
    (Display, ndarray, shape (z, y, x))
        First the brain as it is: what a TeraFly tree, or a file, of it would show. A brain of 16
        bits has no 8-bit tree. Made one at a time, since each is as large as the view.
    """
    yield Display(RAW, "terafly-16"), as_shown_by_terafly(raw)
    if raw.dtype == np.uint8:
        yield Display(RAW, "terafly-8"), raw
    yield Display(RAW, "file-16"), as_opened_directly(raw)
    for name, (settings, window) in presets.items():
        for opening in OPENINGS:
            values = overlay(
                raw,
                distance,
                settings,
                window,
                dtype=np.uint8 if opening == "terafly-8" else np.uint16,
                peak=SIGNED_LIMIT if opening == "file-16" else None,
                unexplored=unexplored,
            )
            if settings.avoid_powers_of_two:
                values = avoid_powers_of_two(values)
            shown = as_opened_directly if opening == "file-16" else as_shown_by_terafly
            yield Display(name, opening), shown(values)
