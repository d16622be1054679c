"""Voxels of any type as uint8 or uint16, by a mapping the user states and the brain records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.volume.sources.base import SUPPORTED, Source

Stored: TypeAlias = Literal["uint8", "uint16"]


@dataclass(frozen=True, slots=True)
class Mapping:
    """How a value of the source becomes a stored one.

    With ``offset``: ``stored = value + offset``, lossless for whatever fits. With ``range``:
    ``stored = round((value - low) / (high - low) * top)``, where top is 255 or 65535. What falls
    outside is clipped and counted.
    """

    offset: int | None = None
    range: tuple[float, float] | None = None
    dtype: Stored | None = None
    """uint16 unless the source is uint8, if not given."""

    def stored_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type a brain gets from a source of the given type."""
        return np.dtype(self.dtype or ("uint8" if dtype == np.uint8 else "uint16"))

    def check(self, dtype: np.dtype[Any], where: str) -> None:
        """Refuse a mapping that is missing, impossible, or not needed.

        Raises
        ------
        VolumeError
            If the source needs a mapping and none is stated.
        UsageError
            If the stated one cannot be carried out.
        """
        if self.offset is not None and self.range is not None:
            raise UsageError("give --offset or --range, not both: a voxel is mapped once")
        if self.offset is not None and dtype.kind == "f":
            raise UsageError(
                f"--offset shifts integers and {where} holds {dtype}; "
                "state the values that become black and white: --range LOW HIGH"
            )
        if self.range is not None and not _usable(self.range):
            raise UsageError(f"--range takes two finite values, low before high, got {self.range}")
        if self.offset is None and self.range is None:
            self._check_identity(dtype, where)

    def _check_identity(self, dtype: np.dtype[Any], where: str) -> None:
        if dtype.name not in SUPPORTED:
            keeps = -int(np.iinfo(dtype).min) if dtype.kind == "i" and dtype.itemsize < 4 else 0
            state = (
                "--range LOW HIGH, the values that become black and white"
                if dtype.kind == "f"
                else f"--offset N, added to every value ({keeps} keeps all), or --range LOW HIGH"
            )
            raise VolumeError(
                f"{where} holds {dtype} voxels and a brain uint8 or uint16: no mapping is guessed. "
                f"State it: {state}"
            )
        if self.dtype == "uint8" and dtype == np.uint16:
            raise UsageError(
                f"{where} holds uint16 voxels: to store uint8, state the values that become "
                "black and white: --range LOW HIGH"
            )

    def __call__(self, voxels: NDArray[Any]) -> tuple[NDArray[Any], int]:
        """Return mapped voxels and how many were clipped.

        Raises
        ------
        VolumeError
            If voxels are not finite: they have no place on a grey scale.
        """
        stored = self.stored_dtype(voxels.dtype)
        top = int(np.iinfo(stored).max)
        if self.range is not None:
            return self._scaled(voxels, stored, top)
        if not self.offset and voxels.dtype.name in ("uint8", stored.name):
            return voxels.astype(stored, copy=False), 0
        offset = self.offset or 0
        if voxels.dtype.itemsize == 8:  # only here could adding overflow: clip first
            info = np.iinfo(voxels.dtype)
            low, high = max(-offset, int(info.min)), min(top - offset, int(info.max))
            inside = np.clip(voxels, min(low, int(info.max)), max(high, int(info.min)))
            clipped = int(np.count_nonzero(inside != voxels))
            return (inside.astype(np.int64) + offset).clip(0, top).astype(stored), clipped
        moved = voxels.astype(np.int64) + offset
        kept = moved.clip(0, top)
        return kept.astype(stored), int(np.count_nonzero(kept != moved))

    def _scaled(
        self, voxels: NDArray[Any], stored: np.dtype[Any], top: int
    ) -> tuple[NDArray[Any], int]:
        assert self.range is not None
        low, high = self.range
        if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
            count = int(np.count_nonzero(~np.isfinite(voxels)))
            raise VolumeError(f"{count} voxels are NaN or infinite and have no grey value")
        clipped = int(np.count_nonzero((voxels < low) | (voxels > high)))
        scaled = (voxels.astype(np.float64) - low) * (top / (high - low))
        return np.clip(np.floor(scaled + 0.5), 0, top).astype(stored), clipped

    def as_dict(self) -> dict[str, Any] | None:
        """Return the mapping for a brain's attributes; None if voxels are kept as they are."""
        if self.offset is None and self.range is None:
            return None
        values = {"offset": self.offset, "range": None if self.range is None else list(self.range)}
        return {key: value for key, value in values.items() if value is not None}


class MappedSource(Source):
    """A source whose voxels are mapped as they are read."""

    def __init__(self, source: Source, mapping: Mapping) -> None:
        mapping.check(source.dtype, source.identity.name)
        self.original, self.mapping = source, mapping
        self.format = source.format  # type: ignore[misc]
        self.description, self.shape, self.unit = source.description, source.shape, source.unit
        self.identity, self.channels, self.notes = source.identity, source.channels, source.notes
        self.spacing_um, self.origin_um = source.spacing_um, source.origin_um
        self.dtype = mapping.stored_dtype(source.dtype)

    def read(self, box: Box) -> NDArray[Any]:
        """Return the mapped voxels of a box inside the volume."""
        voxels = np.empty(box.shape, self.dtype)
        self.read_into(box, voxels)
        return voxels

    def read_into(self, box: Box, out: NDArray[Any]) -> int:
        """Read the mapped voxels of a box; return how many of them were clipped."""
        if self.mapping.as_dict() is None and self.original.dtype == self.dtype:
            return self.original.read_into(box, out)
        voxels = self.original.read(box)
        try:
            out[...], clipped = self.mapping(voxels)
        except VolumeError as error:
            raise VolumeError(f"{self.identity.name}, {box}: {error}") from None
        return clipped


def _usable(limits: tuple[float, float]) -> bool:
    return bool(np.isfinite(limits).all() and limits[0] < limits[1])
