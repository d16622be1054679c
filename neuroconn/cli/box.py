"""Parts of a volume, as people type them: ``Z0:Z1,Y0:Y1,X0:X1``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from neuroconn.errors import UsageError

if TYPE_CHECKING:
    from neuroconn.geometry import Box

ZYX = tuple[int, int, int]
_FORM = "Z0:Z1,Y0:Y1,X0:X1, such as 0:64,100:400,0:512"


class BoxType(click.ParamType):  # type: ignore[type-arg]
    """Reads a box of whole voxels; the last ones are not in it."""

    name = "Z0:Z1,Y0:Y1,X0:X1"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a ``Box``."""
        if not isinstance(value, str):
            return value
        try:
            return parse_box(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


def parse_box(text: str) -> Box:
    """Read three ranges of voxels, as Python slices them.

    Parameters
    ----------
    text : str
        ``Z0:Z1,Y0:Y1,X0:X1``; the first voxel of each range is in the box, the last is not.

    Raises
    ------
    UsageError
        If there are not three, or one is no range of whole voxels, counts from the end, or holds
        none.

    Examples
    --------
    >>> parse_box("5:25, 6:27, 7:29").shape
    (20, 21, 22)
    """
    from neuroconn.geometry import Box

    parts = text.split(",")
    if len(parts) != 3:
        raise UsageError(f"a box is {_FORM}; {text!r} has {len(parts)} ranges")
    starts, stops = zip(*map(_range, "zyx", parts), strict=True)
    return Box(starts, stops)


def crop_of(box: Box | None, start: ZYX | None, shape: ZYX | None) -> Box | None:
    """Return the part meant by ``--box``, or by ``--start`` and ``--shape``; None for all.

    Raises
    ------
    UsageError
        If both are given, or a start without a shape.
    """
    if start is None and shape is None:
        return box
    if box is not None:
        raise UsageError("--box says it all: leave out --start and --shape")
    if shape is None:
        raise UsageError("--start needs --shape, or nobody knows where the crop ends")
    from neuroconn.geometry import Box

    return Box.of_shape(shape).shift(start or (0, 0, 0))


def _range(axis: str, part: str) -> tuple[int, int]:
    first, _, last = part.partition(":")
    try:
        start, stop = int(first), int(last)
    except ValueError:
        raise UsageError(
            f"{part.strip()!r} is no range of whole voxels along {axis}: a box is {_FORM}"
        ) from None
    if start < 0 or stop < 0:
        raise UsageError(f"{part.strip()!r} along {axis}: voxels count from 0, not from the end")
    if start >= stop:
        raise UsageError(
            f"{part.strip()!r} along {axis} holds no voxel: the first is in the box, the last is "
            "not"
        )
    return start, stop
