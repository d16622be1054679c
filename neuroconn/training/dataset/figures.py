"""Pictures of a dataset: how much neurite its cubes hold, and what some of them look like."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from neuroconn.config.crops import DatasetSettings
from neuroconn.training.crop import SPLITS
from neuroconn.training.dataset.layout import storing
from neuroconn.training.dataset.plan import Cubes
from neuroconn.training.dataset.squares import decode
from neuroconn.view.charts import ticks
from neuroconn.view.pictures import (
    Picture,
    nearness,
    projection,
    save_png,
    side_by_side,
    stretch,
)

_LARGEST = 160
"""Pixels of the edge of a crop in a picture."""
_EXAMPLES = 3
_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 76, 56
_INK, _GREY, _CURVE, _MARK = (40, 40, 46), (222, 222, 226), (0, 114, 178), (213, 94, 0)


def draw(
    folder: Path,
    group: zarr.Group,
    cubes: Sequence[Cubes],
    brains: Sequence[Mapping[str, Any]],
    settings: DatasetSettings,
) -> None:
    """Write the pictures of every brain, and the table they are drawn from.

    Parameters
    ----------
    folder : Path
        Where to.
    group : zarr.Group
        The dataset, with all its crops.
    cubes, brains
        Of each brain: its cubes, and its provenance.
    settings : DatasetSettings
        Size, minimum and clip.
    """
    first = 0
    with storing(str(folder)):
        (folder / "cubes.csv").write_text(table(cubes, brains), encoding="utf-8", newline="")
        for number, (found, brain) in enumerate(zip(cubes, brains, strict=True)):
            stem = f"{number}-{str(brain['name']).split('.')[0]}"
            save_png(folder / f"{stem}-voxels.png", voxels_per_cube(found, str(brain["name"])))
            voxels = found.voxels[found.chosen]
            if len(voxels):
                rows = [first + int(k) for k in _examples(voxels)]
                panels = crop_panels(group, rows, brain["intensity"], clip=settings.clip)
                save_png(folder / f"{stem}-crops.png", panels)
            first += len(voxels)


def table(cubes: Sequence[Cubes], brains: Sequence[Mapping[str, Any]]) -> str:
    """Return, as CSV, every cube that holds neurite or was chosen."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("brain", "z", "y", "x", "neurite_voxels", "split", "chosen"))
    for found, brain in zip(cubes, brains, strict=True):
        rows.writerows(
            (brain["name"], *start, voxels, SPLITS[split], int(chosen))
            for start, voxels, split, chosen in zip(
                found.starts.tolist(),
                found.voxels.tolist(),
                found.splits.tolist(),
                found.chosen.tolist(),
                strict=True,
            )
        )
    return text.getvalue()


def cumulative(voxels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of neurite voxels that occur, and how many cubes hold at most so many.

    Examples
    --------
    >>> cumulative(np.array([7, 3, 7, 9]))
    (array([3, 7, 9]), array([1, 3, 4]))
    """
    values, counts = np.unique(voxels, return_counts=True)
    return values, np.cumsum(counts)


def voxels_per_cube(cubes: Cubes, name: str) -> Picture:
    """Draw how many cubes with neurite hold at most so many neurite voxels.

    Returns
    -------
    ndarray of uint8, shape (420, 720, 3)
    """
    from PIL import Image, ImageDraw, ImageFont

    found = cubes.voxels[cubes.voxels > 0]
    values, counts = cumulative(found)
    right, top = float(max(values.max(initial=1), cubes.minimum) * 1.02), len(found) * 1.05 or 1.0
    canvas = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)

    def at(x: float, y: float) -> tuple[float, float]:
        width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return _LEFT + width * x / right, _HEIGHT - _BOTTOM - height * y / top

    for value in ticks(0, top):
        pen.line([at(0, value), at(right, value)], fill=_GREY)
        pen.text((_LEFT - 8, at(0, value)[1]), f"{value:,.0f}", _INK, font, anchor="rm")
    for value in ticks(0, right, 6):
        pen.text((at(value, 0)[0], _HEIGHT - _BOTTOM + 8), f"{value:,.0f}", _INK, font, anchor="mt")
    steps = [(0.0, 0.0)]
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        steps += [(value, steps[-1][1]), (value, count)]
    pen.line([at(*step) for step in [*steps, (right, steps[-1][1])]], fill=_CURVE, width=2)
    pen.line([at(cubes.minimum, 0), at(cubes.minimum, top)], fill=_MARK, width=2)
    kept = int((found >= cubes.minimum).sum())
    pen.text(
        (_LEFT, 8),
        f"{name}: {kept:,} of {len(found):,} cubes with neurite hold {cubes.minimum:,} neurite "
        f"voxels or more",
        _INK,
        font,
    )
    pen.text((_LEFT, 28), f"{cubes.total:,} cubes in all; orange: the minimum", _INK, font)
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    pen.text((middle, _HEIGHT - 22), "neurite voxels per cube", _INK, font, anchor="mt")
    pen.text((8, _TOP - 18), "cubes with at most so many", _INK, font)
    return np.asarray(canvas)


def crop_panels(
    group: zarr.Group, rows: Sequence[int], statistics: Mapping[str, Any], *, clip: float
) -> Picture:
    """Draw crops, a row each: image, centreline, distance map, and both over the image.

    The image is the brightest voxel along z, the distance the nearest.
    """
    pictures = [_crop_row(group, row, statistics, clip) for row in rows]
    gap = np.full((4, pictures[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([part for row in pictures for part in (gap, row)][1:])


def _crop_row(group: zarr.Group, row: int, statistics: Mapping[str, Any], clip: float) -> Picture:
    image, centreline, codes = (
        np.asarray(cast("zarr.Array[Any]", group[name])[row])
        for name in ("image", "centreline", "distance")
    )
    percentiles = statistics["percentiles"]
    low = float(percentiles["50"])
    bright = projection(image)
    high = max(float(np.percentile(bright, 99.5)), low + 1)
    # A strong curve: somata would leave axons in the dark.
    grey = np.repeat(stretch(bright, low=low, high=high, softness=25)[..., None], 3, axis=-1)
    line = projection(centreline.astype(np.uint8)).astype(bool)
    near = nearness(projection(decode(codes, clip), minimum=True), clip=clip)
    over = grey.copy()
    over[line] = _MARK
    drawn = np.where(line[..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=-1)
    return side_by_side([_fit(part) for part in (grey, drawn, near, over)])


def _fit(picture: Picture) -> Picture:
    """Fit a picture to its panel: the brightest of each block of pixels stays, so lines do."""
    factor = -(-len(picture) // _LARGEST)
    if factor == 1:
        times = _LARGEST // len(picture)
        return picture.repeat(times, axis=0).repeat(times, axis=1)
    side = len(picture) // factor * factor
    blocks = picture[:side, :side].reshape(side // factor, factor, side // factor, factor, 3)
    return np.asarray(blocks.max(axis=(1, 3)))


def _examples(voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pick a few crops, from little neurite to much."""
    order = np.argsort(voxels, kind="stable")
    shares = np.linspace(0.25, 0.95, _EXAMPLES)
    picked: NDArray[np.int64] = order[np.unique(np.round(shares * (len(order) - 1)).astype(int))]
    return picked
