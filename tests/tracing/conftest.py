"""Neurites that keep away from each other, and maps of them on disk."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

from scenes import Store

from neuroconn.geometry import Box, Frame, Level
from neuroconn.inference.encoding import Encoding
from neuroconn.volume import create_image, write_region

SPACING = (2.0, 1.0, 1.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Write a distance map; boxes of whole chunks given as ``unexplored`` are not stored."""

    def written(
        distance: NDArray[Any],
        *,
        chunk: int = 16,
        shard: int | None = None,
        dtype: str = "uint8",
        known: bool = True,
        name: str = "map.ome.zarr",
    ) -> Path:
        encoding = Encoding(dtype, 10.0)
        packed = dtype != "float32"
        image = create_image(
            tmp_path / name,
            levels=[Level(distance.shape, (1, 1, 1), (1, 1, 1))],
            dtype=dtype,
            frame=Frame(SPACING if known else (1.0, 1.0, 1.0)),
            spacing_known=known,
            chunk=chunk,
            shard=shard,
            fill_value=encoding.fill,
            kind="distance",
            array_attributes=encoding.attributes() if packed else {"units": "voxel"},
        )
        unknown = np.isnan(distance)
        codes = encoding.encode(np.where(unknown, 0, distance))
        codes[unknown] = encoding.fill
        write_region(image.array(), Box.of_shape(distance.shape), codes)
        return tmp_path / name

    return written
