"""Small brains and distance maps on disk."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import Frame, Level, plan_levels
from neuroconn.inference.encoding import Encoding
from neuroconn.volume import Image, create_image, intensity_statistics, write_region
from neuroconn.volume.statistics import pack_histogram, voxel_histogram

FRAME = Frame((2.0, 1.0, 1.0), (10.0, 20.0, 30.0))


def store(path: Path, volume: NDArray[Any], kind: Any, frame: Frame = FRAME, **more: Any) -> Image:
    shape: Any = volume.shape
    levels = [Level(shape, (1, 1, 1), (1, 1, 1))] if kind == "distance" else plan_levels(shape)
    image = create_image(
        path,
        levels=more.pop("levels", levels),
        dtype=volume.dtype,
        frame=frame,
        chunk=16,
        shard=32,
        kind=kind,
        **more,
    )
    grid = image.grid()
    for index in grid:
        box = grid.core(index)
        write_region(image.array(0), box, np.ascontiguousarray(volume[box.slices]))
    return image


def brain_image(path: Path, volume: NDArray[Any], **more: Any) -> Image:
    image = store(path, volume, "brain", **more)
    counts = voxel_histogram(volume)
    notes = {**intensity_statistics(counts), "histogram": pack_histogram(counts)}
    image.update_attributes({"intensity": notes})
    return image


def map_image(path: Path, distance: NDArray[Any], dtype: str = "uint8", **more: Any) -> Image:
    encoding = Encoding(dtype, clip=10.0)
    codes = np.where(np.isnan(distance), encoding.fill, encoding.encode(np.nan_to_num(distance)))
    return store(
        path,
        codes.astype(dtype),
        "distance",
        fill_value=encoding.fill,
        array_attributes=encoding.attributes(),
        **more,
    )
