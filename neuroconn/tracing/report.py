"""What a tracing holds and what was taken out for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroconn._version import __version__
from neuroconn.annotation import Forest
from neuroconn.geometry import Frame
from neuroconn.tracing.settings import TraceSettings


@dataclass(frozen=True, slots=True)
class TraceReport:
    """Counts of a tracing; its text is a table."""

    source: str
    """The distance map."""
    settings: TraceSettings
    units: str
    """Of positions, radii and length: ``um`` or ``voxel``."""
    spacing_um: tuple[float, float, float] | None
    """Of the map's voxels (z, y, x); None if it does not say."""
    trees: int
    nodes: int
    length: float
    """Cable length."""
    branches: int
    """Nodes with more than two neighbours."""
    ends: int
    """Nodes with one neighbour, roots included."""
    loops: int
    """Loops that were cut, each where the map is least certain."""
    spurs: int
    """Free branches that were too short."""
    bridges: int
    """Gaps that were bridged."""
    faint: int
    """Trees dropped because they never come near enough to a centreline."""
    short: int
    """Trees dropped because they are too short."""
    blocks: int
    """Blocks that were read; what is not stored is not."""
    somas: int
    """Trees that begin in a given soma."""
    measured: bool
    """Whether radii are those of the image; else each is 1."""

    @classmethod
    def of(cls, forest: Forest, *, frame: Frame | None, **known: Any) -> TraceReport:
        """Count what is in a forest; ``known`` are the other fields."""
        degrees = np.bincount(forest.edges.ravel(), minlength=len(forest))
        return cls(
            trees=len(forest.roots),
            nodes=len(forest),
            length=forest.length,
            branches=int((degrees > 2).sum()),
            ends=int((degrees == 1).sum()),
            spacing_um=None if frame is None else frame.spacing_um,
            **known,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values; ``length_mm`` is null where voxels have no size."""
        fields = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "settings"
        }
        millimetres = self.length / 1000 if self.units == "um" else None
        return {**fields, "length_mm": millimetres, "settings": dataclasses.asdict(self.settings)}

    def notes(self) -> list[str]:
        """Lines for the header of an SWC: what its numbers mean and where they come from."""
        spacing = "unknown" if self.spacing_um is None else _numbers(self.spacing_um)
        given = dataclasses.asdict(self.settings)
        radii = (
            f"radius: half width at half maximum in the image, {self.units}"
            if self.measured
            else "radius: 1 means nothing, a distance map has no thickness"
        )
        return [
            f"units: {self.units}",
            "axes: x y z here are axes 2 1 0 of the map; voxel 0 has its centre at "
            + ("the map's origin" if self.units == "um" else "0"),
            f"voxel size (z y x): {spacing}" + ("" if self.spacing_um is None else " um"),
            radii,
            f"source: {self.source}",
            "settings: " + " ".join(f"{key}={value}" for key, value in given.items()),
            f"written by: neuroconn {__version__} trace",
        ]

    def __str__(self) -> str:
        unit = "mm" if self.units == "um" else "voxels"
        length = self.length / 1000 if self.units == "um" else self.length
        rows = [
            ("trees", f"{self.trees}", f"{self.short} shorter ones and {self.faint} faint dropped"),
            ("length", f"{length:.3f}", unit),
            ("nodes", f"{self.nodes}", ""),
            ("branches", f"{self.branches}", f"{self.spurs} spurs pruned"),
            ("ends", f"{self.ends}", f"{self.bridges} gaps bridged"),
            ("loops cut", f"{self.loops}", "each where the map is least certain"),
        ]
        return "\n".join(f"{name:<10}{value:>12}  {note}".rstrip() for name, value, note in rows)


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)
