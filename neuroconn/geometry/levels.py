"""The levels of an image pyramid."""

from __future__ import annotations

from dataclasses import dataclass

from neuroconn.geometry.box import ZYX
from neuroconn.geometry.frame import Frame


@dataclass(frozen=True, slots=True)
class Level:
    """One level: its shape, its factor against level 0, and the step that made it."""

    shape: ZYX
    factor: ZYX
    """Level-0 voxels per voxel of this level, per axis."""
    step: ZYX
    """Voxels of the level below per voxel of this level; (1, 1, 1) for level 0."""

    def frame(self, base: Frame) -> Frame:
        """Return where this level's voxels lie, given the frame of level 0.

        A coarse voxel sits in the middle of those it stands for: half a voxel further per halving.
        """
        z, y, x = (s * f for s, f in zip(base.spacing_um, self.factor, strict=True))
        oz, oy, ox = (
            o + s * (f - 1) / 2
            for o, s, f in zip(base.origin_um, base.spacing_um, self.factor, strict=True)
        )
        return Frame((z, y, x), (oz, oy, ox))


def plan_levels(
    shape: ZYX, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), *, smallest: int = 256
) -> list[Level]:
    """Halve until every side is at most ``smallest`` voxels.

    Parameters
    ----------
    shape : (z, y, x) ints
        Voxels of level 0.
    spacing : (z, y, x) floats, optional
        Voxel size. An axis is halved only while its voxels are at most twice as long as they
        would be along the finest axis after the step, so pyramids drift towards isotropic.
    smallest : int, optional
        Where to stop.

    Returns
    -------
    list of Level
        Level 0 first. Odd sizes round up: no plane is dropped.

    Examples
    --------
    >>> [level.shape for level in plan_levels((64, 600, 600), (4.0, 1.0, 1.0))]
    [(64, 600, 600), (64, 300, 300), (64, 150, 150)]
    """
    levels = [Level(shape, (1, 1, 1), (1, 1, 1))]
    while max(levels[-1].shape) > smallest:
        last = levels[-1]
        size = [s * f for s, f in zip(spacing, last.factor, strict=True)]
        # Halving an axis whose voxels are already long would lose planes for no gain in size.
        step = [
            2 if n > 1 and s < 2 * min(size) else 1 for n, s in zip(last.shape, size, strict=True)
        ]
        if not any(k == 2 and n > smallest for k, n in zip(step, last.shape, strict=True)):
            step = [2 if n > 1 else 1 for n in last.shape]
        z, y, x = (-(-n // k) for n, k in zip(last.shape, step, strict=True))
        fz, fy, fx = (f * k for f, k in zip(last.factor, step, strict=True))
        levels.append(Level((z, y, x), (fz, fy, fx), (step[0], step[1], step[2])))
    return levels
