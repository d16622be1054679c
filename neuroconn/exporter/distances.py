"""What the stored numbers of a distance map mean."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.volume import Image

_LARGEST_CODE = {"uint8": 250, "uint16": 65_000}


class Distances:
    """Codes to distances in voxels.

    Parameters
    ----------
    image : Image
        A distance map.

    Raises
    ------
    VolumeError
        If it does not say what its numbers mean.
    """

    def __init__(self, image: Image) -> None:
        array = image.array(0)
        self._name, self._path = np.dtype(array.dtype).name, image.path
        self.table: NDArray[np.float64] | None = None
        """Distance of each code, NaN for the one that means "nobody looked"; None if distances are
        stored as they are."""
        self._fill: float = float("nan")
        if self._name.startswith("float"):
            return
        attributes = dict(array.attrs)
        scale, fill = attributes.get("scale_factor"), attributes.get("_FillValue")
        if (
            self._name not in _LARGEST_CODE
            or not isinstance(scale, int | float)
            or not isinstance(fill, int | float)
        ):
            raise VolumeError(
                f"{image.path} stores {self._name} with scale_factor {scale!r} and _FillValue "
                f"{fill!r}: not a distance map"
            )
        self.table = np.arange(np.iinfo(self._name).max + 1, dtype=float) * scale
        self.table[int(fill)] = np.nan
        self._fill = int(fill)

    def meaning(self) -> list[Any]:
        """Return what codes mean as JSON: two maps of one meaning are compared code by code."""
        step = None if self.table is None else float(self.table[1])
        return [self._name, step, None if self.table is None else self._fill]

    def check_reach(self, clip: float) -> None:
        """Refuse a clip beyond the map: no voxel is that far, so all of them would glow."""
        if self.table is None:
            return
        reach = float(f"{self.table[_LARGEST_CODE[self._name]]:.12g}")
        if clip > reach:
            raise UsageError(
                f"clip {clip:g} is farther than {self._path} reaches ({reach:g} voxels), so all of "
                f"the brain would glow: set clip={reach:g} or less"
            )

    def decode(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Distances in voxels, NaN where nobody looked."""
        return codes if self.table is None else self.table[codes]

    def unexplored(self, codes: NDArray[Any]) -> NDArray[np.bool_]:
        """Where nobody looked."""
        absent: NDArray[np.bool_] = np.isnan(codes) if self.table is None else codes == self._fill
        return absent

    def stamp(self, codes: NDArray[Any]) -> int:
        """Digest of codes, below 2**64; 0 where nobody looked at any of them."""
        if self.unexplored(codes).all():
            return 0
        digest = hashlib.sha256(np.ascontiguousarray(codes).data).digest()
        return int.from_bytes(digest[:8], "little") or 1
