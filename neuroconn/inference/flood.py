"""Whether a walk follows neurites or floods the grid.

Isolated false positives join up into one cluster that spans the brain once a certain share of all
chunks holds one: 31 % where faces open the way, 14 % with edges, 10 % with corners [1]_. Long
before that most of what a walk infers is empty, which is what is watched here.

References
----------
.. [1] D. Stauffer and A. Aharony, "Introduction to Percolation Theory", 1994: site percolation on
   the simple cubic lattice with first, second and third neighbours.
"""

from __future__ import annotations

from collections import deque

_RECENT = 1000
_ENOUGH = 200
"""Chunks before anything is said: the surroundings of a few seeds prove nothing."""
_WASTEFUL = 0.5
"""A walk along fibres finds 1 empty chunk for 3 to 4 with neurite; rule ``any`` finds more."""
_LARGE = 0.3
"""Share of the grid from which a walk from seeds is no longer sparse."""


class FloodWatch:
    """Counts empty chunks among the last thousand.

    Parameters
    ----------
    chunks : int
        Chunks the walk may visit.
    sparse : bool, optional
        False for a run that was asked to visit all of them: nothing is said about its size.
    limit : float, optional
        Share of empty chunks from which :attr:`stop` says that it is enough.

    Examples
    --------
    >>> watch = FloodWatch(10_000)
    >>> for number in range(400):
    ...     watch.saw(neurite=number % 4 == 0)
    >>> watch.empty
    0.75
    >>> watch.warnings()[0][:38]
    '75 % of the last 200 chunks were empty'
    """

    def __init__(self, chunks: int, *, sparse: bool = True, limit: float | None = None) -> None:
        self._chunks = chunks
        self._sparse = sparse
        self._limit = limit
        self._recent: deque[bool] = deque(maxlen=_RECENT)
        self._empty = 0
        self._visited = 0
        self._warned: dict[str, str] = {}

    def saw(self, *, neurite: bool) -> None:
        """Count a chunk that came back."""
        if len(self._recent) == _RECENT:
            self._empty -= self._recent[0]
        self._recent.append(not neurite)
        self._empty += not neurite
        self._visited += 1
        if self._sparse and self._visited % 50 == 0:
            self._look()

    @property
    def empty(self) -> float:
        """Share of the last thousand chunks that hold no neurite."""
        return self._empty / len(self._recent) if self._recent else 0.0

    @property
    def stop(self) -> bool:
        """Whether the share of empty chunks has passed the limit."""
        if self._limit is None or len(self._recent) < _ENOUGH or self.empty <= self._limit:
            return False
        self._warned.setdefault(
            "stop",
            f"stopped, because more than max_empty ({100 * self._limit:g} %) of the last "
            f"{len(self._recent)} chunks were empty. Look at the map; raise max_empty to go on.",
        )
        return True

    def warnings(self) -> tuple[str, ...]:
        """Return what was noticed so far, one line each, said once."""
        return tuple(self._warned.values())

    def _look(self) -> None:
        if len(self._recent) >= _ENOUGH and self.empty > _WASTEFUL:
            self._warned.setdefault(
                "empty",
                f"{100 * self.empty:.0f} % of the last {len(self._recent)} chunks were empty: the "
                "walk may be flooding the brain. Look at the map; a higher evidence.min_component "
                "or evidence.min_voxels, rule: evidence, or bridge: 0 make it choosier.",
            )
        if self._visited > max(_ENOUGH, _LARGE * self._chunks):
            self._warned.setdefault(
                "large",
                f"{100 * self._visited / self._chunks:.0f} % of all chunks were visited, much for "
                "neurites: if that is more than this brain holds, specks are taken for neurites. "
                "A higher evidence.min_component, or a box or mask, keeps the walk small.",
            )
