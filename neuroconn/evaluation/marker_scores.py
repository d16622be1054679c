"""Where clicks landed: a value, a table, a JSON object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.evaluation.displays import OPENINGS, RAW, Display, Opening
from neuroconn.geometry import ZYX, Box
from neuroconn.metrics.clicks import Points, Rays
from neuroconn.metrics.proportions import Interval, paired_difference, wilson

HIT, NEAR = 2.0, 3.0
"""Voxels from a neurite within which a click counts, strictly and generously."""


@dataclass(frozen=True, slots=True, eq=False)
class Landed:
    """Where the markers of all clicks lie in one display, in voxels."""

    neurite: NDArray[np.float64]
    """(n,) distance to the nearest neurite; infinite where there is none near, or no marker."""
    aim: NDArray[np.float64]
    """(n,) distance to the point that was aimed at; infinite where there is no marker."""

    @classmethod
    def join(cls, parts: Sequence[Landed]) -> Landed:
        """Put clicks in several views together, in order."""
        return cls(
            np.concatenate([part.neurite for part in parts]),
            np.concatenate([part.aim for part in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One view to be drawn: what TeraFly shows of it, and where the clicks went."""

    preset: str
    views: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    """The raw brain and the overlay, shape (z, y, x)."""
    rays: Rays
    markers: tuple[Points, Points]
    landed: tuple[Landed, Landed]


@dataclass(frozen=True, slots=True, eq=False)
class MarkerScores:
    """How often a click lands on a neurite, in the raw brain and in every overlay.

    All displays are clicked along the same rays.
    """

    landed: Mapping[Display, Landed]
    shape: ZYX
    """Voxels of the volume."""
    views: tuple[Box, ...]
    """What was loaded at once."""
    unexplored: int
    """Clicks aimed at a place that the distance map says nothing about; only raw helps there."""
    seed: int = 0
    example: Example | None = None

    @property
    def clicks(self) -> int:
        """Clicks in each display."""
        return len(next(iter(self.landed.values())).aim)

    def hits(self, display: Display, within: float = HIT) -> NDArray[np.bool_]:
        """(n,) which clicks lie so near to any neurite."""
        hits: NDArray[np.bool_] = self.landed[display].neurite <= within
        return hits

    def rate(self, display: Display, within: float = HIT) -> float:
        """Share of clicks that lie so near to any neurite."""
        return float(self.hits(display, within).mean())

    def interval(self, display: Display, within: float = HIT) -> Interval:
        """95 % interval of the rate over the rays of these views, not over other brains."""
        hits = self.hits(display, within)
        return wilson(int(hits.sum()), len(hits))

    def gain(self, display: Display, within: float = HIT) -> tuple[float, Interval]:
        """Return by how much the rate exceeds that of the raw brain, and its 95 % interval."""
        mine, raw = self.hits(display, within), self.hits(self.raw(display.opening), within)
        return float(mine.mean() - raw.mean()), paired_difference(mine, raw)

    def aimed(self, display: Display, within: float = NEAR) -> float:
        """Share of clicks that lie so near to the point aimed at, not on some other neurite."""
        return float((self.landed[display].aim <= within).mean())

    def raw(self, opening: Opening) -> Display:
        """Return the display that an overlay opened this way is compared with."""
        own = Display(RAW, opening)
        return own if own in self.landed else Display(RAW, "terafly-16")

    @property
    def names(self) -> list[str]:
        """``raw``, then the presets."""
        return list(dict.fromkeys(display.name for display in self.landed))

    @property
    def best(self) -> str:
        """Preset with most hits in a 16-bit tree; of equal ones the first."""
        trees = [d for d in self.landed if d.opening == "terafly-16" and d.name != RAW]
        return max(trees, key=self.rate).name if trees else RAW

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as JSON values."""
        return {
            "clicks": self.clicks,
            "unexplored": self.unexplored,
            "shape": list(self.shape),
            "views": [[list(view.start), list(view.stop)] for view in self.views],
            "seed": self.seed,
            "best": self.best,
            "displays": [self._row(display) for display in self.landed],
        }

    def _row(self, display: Display) -> dict[str, Any]:
        gain, interval = self.gain(display)
        return {
            "name": display.name,
            "opening": display.opening,
            "within_2": self.rate(display),
            "within_2_interval": list(self.interval(display)),
            "within_3": self.rate(display, NEAR),
            "within_3_of_aim": self.aimed(display),
            "gain": gain,
            "gain_interval": list(interval),
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        views = f"{len(self.views)} view{'s' if len(self.views) > 1 else ''}"
        largest = " x ".join(str(max(v.shape[a] for v in self.views)) for a in range(3))
        yield (
            f"{self.clicks} clicks from random sides into {views} of {largest} voxels; "
            f"{self.unexplored} aim at places that are not explored"
        )
        yield f"{'':<18}{'within 2 voxels of a neurite (95 %)':<63}{'within 3, TeraFly':>22}"
        yield (
            f"{'':<18}{'TeraFly, 16 bit':<22}{'more than raw':<28}{'8 bit':<8}{'file':<5}"
            f"{'neurite':>12}{'aim':>10}"
        )
        for name in self.names:
            yield self._line(name).rstrip()

    def _line(self, name: str) -> str:
        tree, byte, file = (Display(name, opening) for opening in OPENINGS)
        low, high = self.interval(tree)
        gain, (least, most) = self.gain(tree)
        more = "" if name == RAW else f"{gain:+.3f} ({least:+.3f} to {most:+.3f})"
        eight = f"{self.rate(byte):.3f}" if byte in self.landed else "-"
        return (
            f"{name:<18}{self.rate(tree):.3f} ({low:.3f}-{high:.3f})  {more:<28}{eight:<8}"
            f"{self.rate(file):.3f}{self.rate(tree, NEAR):>12.3f}{self.aimed(tree):>10.3f}"
        )
