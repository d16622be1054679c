"""Do seeds lie where the user meant them to? Mistakes of axes, units and counting, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box, Frame
from neuroconn.volume.axes import VolumeArray, triple
from neuroconn.volume.regions import read_region

Points = NDArray[np.float64]

_AROUND = 2  # a neighbourhood of 5 x 5 x 5 voxels
_LIT = 90.0  # its brightest tenth: a thin neurite fills no more
_BACKGROUND = 95.0
_CHECKED_AT_MOST = 200
_NAMED_AT_MOST = 5
_OTHERWISE = 0.8
"""Share of the seeds that must lie well for another reading to be worth a word."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """Another way to understand the same numbers."""

    what: str
    advice: str
    voxels: Callable[[Points], Points]


def inside(voxels: Points, shape: ZYX) -> NDArray[np.bool_]:
    """Whether each position rounds to a voxel of a volume."""
    whole = np.floor(voxels + 0.5)
    found: NDArray[np.bool_] = np.all((whole >= 0) & (whole < shape), axis=1)
    return found


def likely_mistake(
    voxels: Points,
    shape: ZYX,
    frame: Frame | None,
    *,
    in_um: bool = False,
    suffix: str = "",
) -> str:
    """Say which other reading of the numbers would put all of them into the volume.

    Parameters
    ----------
    voxels : (n, 3) float array
        Seeds, some of them outside.
    shape : (z, y, x) ints
        Of level 0.
    frame : Frame, optional
        Of level 0; None if nobody knows how long a voxel is.
    in_um : bool, optional
        Whether the numbers were given in µm.
    suffix : str, optional
        Of the file they come from: a ``.marker`` counts from 1, and of an ``.apo`` nobody knows.

    Returns
    -------
    str
        A sentence with what to do, or what to check if no reading fits.

    Examples
    --------
    >>> likely_mistake(np.array([[400.0, 20.0, 5.0]]), (64, 512, 512), None)
    'Read as X Y Z all of them lie inside: neuroconn wants Z Y X'
    """
    if suffix == ".marker" and inside(voxels + 1, shape).all():
        return "Counted from 0 all of them lie inside: a .marker counts from 1, as Vaa3D writes it"
    if suffix in (".apo", ".ano") and inside(voxels - 1, shape).all():
        return "Counted from 1 all of them lie inside: say so with --apo-base 1"
    fits = [r for r in _readings(frame, in_um) if inside(r.voxels(voxels), shape).all()]
    if fits:
        ways = " or ".join(r.what for r in fits)
        advice = ", or ".join(dict.fromkeys(r.advice for r in fits))
        return f"Read {ways} all of them lie inside: {advice}"
    crop = "; if they were marked in an export of a part, name it (--seeds-in)" if suffix else ""
    return f"Check the order of the axes (Z Y X), and voxels against µm (120um){crop}"


def background_warnings(
    array: VolumeArray,
    voxels: Points,
    percentiles: Mapping[str, float],
    frame: Frame | None = None,
    *,
    in_um: bool = False,
) -> list[str]:
    """Warn of seeds whose surroundings are as dark as the background.

    The brightest tenth of 5 x 5 x 5 voxels is compared with the whole brain. Its maximum would
    say nothing: of 125 voxels of noise one is always bright. If most seeds are dark and another
    reading of the numbers lies on bright voxels, that is said too.

    Parameters
    ----------
    array : zarr array, shape (z, y, x)
        Level 0.
    voxels : (n, 3) float array
        Seeds inside the volume; the first 200 are looked at.
    percentiles : mapping of str to float
        Grey value by percentile of the whole brain.
    frame : Frame, optional
        Of level 0; None if nobody knows how long a voxel is.
    in_um : bool, optional
        Whether the numbers were given in µm.
    """
    looked = voxels[:_CHECKED_AT_MOST]
    ranks, values = _ranks(array, looked, percentiles)
    dark = np.flatnonzero(ranks < _BACKGROUND)
    found = [
        f"seed {_place(looked[k])} looks like background: around it the grey value is "
        f"{values[k]:g}, percentile {ranks[k]:.0f} of the brain; the walk may end where it starts"
        for k in dark[:_NAMED_AT_MOST]
    ]
    if len(dark) > _NAMED_AT_MOST:
        found.append(
            f"{len(dark)} of the {len(looked)} seeds looked at lie on background like these"
        )
    if 2 * len(dark) > len(looked) > 1:
        found += _better_readings(array, looked, percentiles, frame, in_um)
    return found


def _better_readings(
    array: VolumeArray,
    voxels: Points,
    percentiles: Mapping[str, float],
    frame: Frame | None,
    in_um: bool,
) -> Iterator[str]:
    shape = triple(array.shape)
    flipped = _Reading("with y flipped", "flip y in the file", lambda v: _flip_y(v, shape[1]))
    for reading in (*_readings(frame, in_um), flipped):
        other = reading.voxels(voxels)
        if not inside(other, shape).all():
            continue
        ranks, _ = _ranks(array, other, percentiles)
        share = float(np.mean(ranks >= _BACKGROUND))
        if share >= _OTHERWISE:
            yield (
                f"read {reading.what}, {share:.0%} of the seeds would lie on bright voxels: "
                f"{reading.advice}?"
            )


def _readings(frame: Frame | None, in_um: bool) -> Iterator[_Reading]:
    order = "neuroconn wants Z Y X"
    if frame is None:
        yield _Reading("as X Y Z", order, lambda v: v[:, ::-1])
    elif in_um:
        yield _Reading("as X Y Z", order, lambda v: frame.to_voxels(frame.to_um(v)[:, ::-1]))
        yield _Reading("as voxels", "leave out um", frame.to_um)
    else:
        yield _Reading("as X Y Z", order, lambda v: v[:, ::-1])
        advice = "write 120um (--seed-units um for a file)"
        yield _Reading("as µm", advice, frame.to_voxels)
        yield _Reading("as µm in the order X Y Z", advice, lambda v: frame.to_voxels(v[:, ::-1]))


def _ranks(
    array: VolumeArray, voxels: Points, percentiles: Mapping[str, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentile in the brain of what surrounds each seed, and its grey value."""
    table = sorted((float(p), float(v)) for p, v in percentiles.items())
    bounds = Box.of_shape(triple(array.shape))
    values = np.empty(len(voxels))
    for k, (z, y, x) in enumerate(np.floor(voxels + 0.5).astype(int).tolist()):
        box = Box((z, y, x), (z + 1, y + 1, x + 1)).grow(_AROUND).clip(bounds)
        try:
            values[k] = np.percentile(read_region(array, box), _LIT)
        except VolumeError:  # its chunk will fail and say which object is damaged
            values[k] = np.inf
    return np.interp(values, [v for _, v in table], [p for p, _ in table]), values


def _flip_y(voxels: Points, size: int) -> Points:
    return np.stack([voxels[:, 0], size - 1 - voxels[:, 1], voxels[:, 2]], axis=1)


def _place(voxel: Points) -> str:
    z, y, x = np.floor(voxel + 0.5).astype(int).tolist()
    return f"({z}, {y}, {x})"
