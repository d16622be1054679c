"""Which axis of an array is which, from their names where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neuroconn.errors import VolumeError
from neuroconn.volume.ome import AXES

_SAME = {"channel": "c", "channels": "c", "ch": "c", "time": "t", "frame": "t"}


def plain_axes(
    names: Sequence[Any] | None, shape: Sequence[int], where: str
) -> tuple[tuple[str, ...], str | None]:
    """Name the axes of an array that belongs to no OME-Zarr image.

    Parameters
    ----------
    names : sequence, optional
        Dimension names as stored; some or all may be None.
    shape : sequence of int
        Extent along each axis.
    where : str
        The array, for messages.

    Returns
    -------
    axes : tuple of str
        One name an axis: z, y and x once each, and whatever else there is.
    note : str or None
        What was assumed.

    Raises
    ------
    VolumeError
        If it stays open which axes are z, y and x.

    Examples
    --------
    >>> plain_axes(["X", "Y", "Z"], (5, 4, 3), "a")
    (('x', 'y', 'z'), None)
    >>> plain_axes(None, (1, 3, 4, 5), "a")
    (('#0', 'z', 'y', 'x'), 'a: the axes carry no names and are taken as z, y, x')
    """
    known = [_canonical(name) for name in names] if names is not None else []
    if len(known) != len(shape):
        known = [""] * len(shape)
    if len({name for name in known if name}) < sum(bool(name) for name in known):
        raise VolumeError(f"{where} has two axes of one name ({_shown(names)}); rename one")
    if set(AXES) <= set(known):
        return tuple(name or f"#{k}" for k, name in enumerate(known)), None
    first = len(shape) - 3
    extra, volume = known[: max(first, 0)], known[max(first, 0) :]
    in_order = all(
        a == b or (a not in AXES and a not in ("c", "t"))
        for a, b in zip(volume, AXES, strict=False)
    )
    if first < 0 or not in_order or set(extra) & set(AXES):
        raise VolumeError(
            f"{where} has axes {_shown(names)} of {_sizes(shape)}; a brain has three, and names "
            "tell which: z, y, x"
        )
    if any(n != 1 and name not in ("c", "t") for n, name in zip(shape, extra, strict=False)):
        raise VolumeError(
            f"{where} has {len(shape)} axes of {_sizes(shape)} voxels and no names that tell which "
            "are z, y, x and which counts channels; name them, or save one volume"
        )
    axes = (*(name or f"#{k}" for k, name in enumerate(extra)), *AXES)
    state = "carry no names" if not any(volume) else f"are named {_shown(names)}"
    return axes, f"{where}: the axes {state} and are taken as z, y, x"


def _canonical(name: Any) -> str:
    text = name.strip().lower() if isinstance(name, str) else ""
    return _SAME.get(text, text)


def _shown(names: Sequence[Any] | None) -> str:
    return ", ".join(str(name) for name in names) if names else "without names"


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
