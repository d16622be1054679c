"""A distance map on disk, as scoring wants it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ZYX, Box, ChunkGrid
from neuroconn.metrics import Ranking, rank_codes
from neuroconn.tracing.distance_map import DistanceMap
from neuroconn.volume import Image
from neuroconn.volume.axes import AxisView, VolumeArray
from neuroconn.volume.regions import stored_grid
from neuroconn.volume.stored import stored_indices


@dataclass(frozen=True)
class Prediction:
    """What is stored of a map, what is below the threshold, and what nobody looked at.

    Stored integers are kept as they are: a table of the few there are tells what each means.
    """

    source: DistanceMap

    @property
    def image(self) -> Image:
        """The OME-Zarr image."""
        return self.source.image

    @property
    def shape(self) -> ZYX:
        """Voxels along (z, y, x)."""
        return self.image.shape

    def read(self, box: Box) -> NDArray[Any]:
        """Read the stored numbers of a box inside the map."""
        return self.source.read(box)

    def mask(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Where the distance is below the threshold; not where nobody looked."""
        below: NDArray[np.bool_]
        if stored.dtype.kind == "f":
            below = stored < self.source.threshold  # NaN is not below anything
        else:
            below = (self._distances < self.source.threshold)[stored]
        return below

    def unknown(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Where nobody looked."""
        absent: NDArray[np.bool_]
        floats = stored.dtype.kind == "f"
        absent = np.isnan(stored) if floats else np.isnan(self._distances)[stored]
        return absent

    def rank(
        self,
        stored: NDArray[Any],
        truth: NDArray[np.bool_],
        judged: NDArray[np.bool_] | None = None,
    ) -> Ranking:
        """Count true and other voxels at every distance.

        Maps of floats have too many distances to count the voxels of each: they are rounded to
        half precision, which keeps their order and tells apart 0.008 voxels at 10.
        """
        if judged is not None:
            stored, truth = stored[judged], truth[judged]
        if stored.dtype.kind == "f":
            with np.errstate(over="ignore"):
                stored = stored.astype(np.float16).view(np.uint16)
        return rank_codes(stored, truth, self._distances)

    @property
    def chunk(self) -> ZYX:
        """Size of the chunks that were predicted on their own: those of the run, or stored ones."""
        settings = self.image.attributes.get("infer")
        edge = settings.get("chunk") if isinstance(settings, dict) else None
        if isinstance(edge, int) and edge > 0:
            return edge, edge, edge
        return self.image.grid().chunk

    def explored(self, grid: ChunkGrid) -> Iterator[ZYX]:
        """Yield the cells of a grid that something stored lies in, some of them repeatedly."""
        array: VolumeArray = self.image.array()
        if isinstance(array, AxisView):  # its objects have other numbers
            yield from grid
            return
        stored = stored_grid(array)
        for index in stored_indices(array, stored):
            yield from grid.overlapping(stored.core(index))

    @cached_property
    def _distances(self) -> NDArray[np.float64]:
        """What each stored number stands for, in voxels; of floats, each number of 16 bits."""
        encoding = self.source.encoding
        if not encoding.steps:
            return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float64)
        # Multiplied before divided: code 200 of clip 10 is 8 exactly, not just below.
        table = np.arange(encoding.fill + 1) * encoding.clip / encoding.steps
        table[-1] = np.nan
        return table
