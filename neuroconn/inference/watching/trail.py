"""A curve in bounded memory: a few hundred points of it, however long it gets."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TypeAlias

Point: TypeAlias = tuple[float, ...]
"""Position, which never falls, then values."""


class Trail:
    """Points of a curve, evenly spread, the first and the latest always among them.

    Parameters
    ----------
    limit : int, optional
        Points kept at most.

    Attributes
    ----------
    points : list of tuples of float
        Position first, then the values there.

    Examples
    --------
    >>> trail = Trail(limit=8)
    >>> for x in range(1000):
    ...     trail.add(x, 2 * x)
    >>> len(trail.points) <= 8, trail.points[0], trail.points[-1]
    (True, (0, 0), (999, 1998))
    >>> trail.at(500.5)
    (1001.0,)
    """

    def __init__(self, limit: int = 512) -> None:
        self.points: list[Point] = []
        self._limit = limit
        self._spacing = 0.0

    def add(self, position: float, *values: float) -> None:
        """Go on to a position; one near the last but one replaces the last."""
        points = self.points
        if len(points) > 1 and position - points[-2][0] < self._spacing:
            points[-1] = (position, *values)
            return
        points.append((position, *values))
        if len(points) > self._limit:
            self._spacing = 2 * (position - points[0][0]) / self._limit
            kept = points[:1]
            for point in points[1:-1]:
                if point[0] - kept[-1][0] >= self._spacing:
                    kept.append(point)
            self.points = [*kept, points[-1]]

    def shift(self, by: Sequence[float]) -> None:
        """Add a constant to the values of all points."""
        self.points = [
            (p[0], *(v + b for v, b in zip(p[1:], by, strict=True))) for p in self.points
        ]

    def at(self, position: float) -> tuple[float, ...]:
        """Values at a position, on the line between two points; the outermost outside."""
        i = bisect_left(self.points, position, key=lambda point: point[0])
        if i in (0, len(self.points)):
            return self.points[-1 if i else 0][1:]
        (a, *before), (b, *after) = self.points[i - 1], self.points[i]
        share = (position - a) / (b - a) if b > a else 1.0
        return tuple(u + share * (v - u) for u, v in zip(before, after, strict=True))
