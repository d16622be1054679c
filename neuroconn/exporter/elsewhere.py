"""A brain and its map on a worker: what travels is where they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.exporter.pair import Look, Pair
from neuroconn.geometry import Box
from neuroconn.volume.address import Address


@dataclass(frozen=True)
class PairElsewhere:
    """A pair that has travelled: opened by whoever first asks it for voxels, once in a process.

    A scheduler, which passes it on, opens nothing and may see none of the storage.
    """

    brain: Address
    distance: Address
    look: Look
    box: Box
    token: str
    """What was exported; tells another map at the same address apart."""

    def tile(self, box: Box) -> NDArray[Any] | None:
        """See :meth:`Pair.tile`."""
        return self._pair().tile(box)

    def stamp(self, box: Box) -> int:
        """See :meth:`Pair.stamp`."""
        return self._pair().stamp(box)

    def is_explored(self, box: Box) -> bool:
        """See :meth:`Pair.is_explored`."""
        return self._pair().is_explored(box)

    def _pair(self) -> Pair:
        return _opened(self.brain, self.distance, self.look, self.box, self.token)


@lru_cache(maxsize=2)
def _opened(brain: Address, distance: Address, look: Look, box: Box, token: str) -> Pair:
    """Return the pair that a worker uses for all tiles of an export.

    Raises
    ------
    VolumeError
        If the worker does not find the same images there.
    """
    pair = Pair(brain, distance, look, box)
    if pair.token != token:
        raise VolumeError(
            f"{brain} and {distance} are not the same on this worker: do all see one storage?"
        )
    return pair
