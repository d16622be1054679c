"""What a conversion has done so far: summed from its records, in any order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ZYX, Box
from neuroconn.volume.cascade import WrittenBand
from neuroconn.volume.sources.damage import BadPlace
from neuroconn.volume.statistics import (
    intensity_statistics,
    pack_histogram,
    unpack_histogram,
    voxel_histogram,
)
from neuroconn.volume.statistics_planes import SLAB, PlaneCounts, plane_counts, unevenness


@dataclass
class Counts:
    """Statistics of some voxels of level 0."""

    histogram: NDArray[np.int64]
    planes: PlaneCounts
    clipped: int = 0
    """Voxels that the mapping had to clip."""

    @classmethod
    def empty(cls, box: Box, dtype: np.dtype[Any]) -> Counts:
        """Return counts of nothing, for voxels of a box."""
        bins = 1 << (8 * dtype.itemsize)
        return cls(np.zeros(bins, np.int64), PlaneCounts.empty(box))

    @classmethod
    def of(cls, voxels: NDArray[Any], box: Box, every: int) -> Counts:
        """Count the voxels of a box."""
        return cls(voxel_histogram(voxels), plane_counts(voxels, box, every))

    def add(self, other: Counts) -> None:
        """Add the counts of a box inside this one."""
        self.histogram += other.histogram
        self.planes.add(other.planes)
        self.clipped += other.clipped


@dataclass
class BandRecord:
    """One line of the journal: a band of level 0 and the coarser ones it completed."""

    written: list[WrittenBand]
    counts: Counts | None = None
    """None where only coarse levels were written."""
    bad: tuple[BadPlace, ...] = ()
    """Places of the source that were filled with zeros."""

    def as_json(self) -> dict[str, Any]:
        """Return the record for a journal."""
        record: dict[str, Any] = {"written": [band.as_json() for band in self.written]}
        if self.counts is not None:
            record |= {
                "histogram": pack_histogram(self.counts.histogram),
                "planes": self.counts.planes.pack(),
                "clipped": self.counts.clipped,
            }
        if self.bad:
            record["bad"] = [[list(b.start), list(b.stop), b.reason] for b in self.bad]
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> BandRecord:
        """Inverse of :meth:`as_json`."""
        counts = None
        if "histogram" in record:
            counts = Counts(
                unpack_histogram(record["histogram"]),
                PlaneCounts.unpack(record["planes"]),
                record["clipped"],
            )
        bad = tuple(BadPlace(tuple(a), tuple(b), why) for a, b, why in record.get("bad", ()))
        return cls([WrittenBand.from_json(w) for w in record["written"]], counts, bad)


class Done:
    """The sum of the records of a conversion.

    Holds a few bytes a band, and histograms a plane and a slab: nothing a voxel.
    """

    def __init__(self, shape: ZYX, dtype: np.dtype[Any]) -> None:
        self.written: set[tuple[int, ZYX]] = set()
        self.counts = Counts.empty(Box.of_shape(shape), dtype)
        self.bad: list[BadPlace] = []

    def add(self, record: BandRecord) -> None:
        """Count a record."""
        self.written.update((w.level, w.band) for w in record.written)
        if record.counts is not None:
            self.counts.add(record.counts)
        self.bad += record.bad

    @property
    def bands(self) -> int:
        """Bands of level 0 that are stored."""
        return sum(level == 0 for level, _ in self.written)

    def attributes(self) -> dict[str, Any]:
        """Return what a finished brain says about its voxels."""
        statistics = intensity_statistics(self.counts.histogram)
        z, y, x = self.counts.planes.medians()
        medians = {
            "z": {"slab": 1, "medians": z, "unevenness": unevenness(z)},
            "y": {"slab": SLAB, "medians": y, "unevenness": unevenness(y)},
            "x": {"slab": SLAB, "medians": x, "unevenness": unevenness(x)},
        }
        found: dict[str, Any] = {
            "intensity": {**statistics, "histogram": pack_histogram(self.counts.histogram)},
            "planes": medians,
        }
        if self.counts.clipped:
            found["clipped"] = self.counts.clipped
        if self.bad:
            found["bad"] = [[list(b.start), list(b.stop), b.reason] for b in self.bad[:1000]]
        return found
