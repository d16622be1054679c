"""Maps and tracings of one small neurite."""

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))
from neurite import FRAME, NEURITE, Save

from neuroconn.annotation import write_swc
from neuroconn.geometry import Box, Level
from neuroconn.inference.encoding import Encoding
from neuroconn.volume import create_image, write_region


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(
        distance: NDArray[np.floating], dtype: str = "uint8", clip: float = 10.0, **options: object
    ) -> Path:
        encoding = Encoding(dtype, clip)
        codes = encoding.encode(np.nan_to_num(distance))
        codes[np.isnan(distance)] = encoding.fill
        image = create_image(
            tmp_path / f"map-{len(list(tmp_path.iterdir()))}.ome.zarr",
            levels=[Level(distance.shape, (1, 1, 1), (1, 1, 1))],
            dtype=dtype,
            fill_value=encoding.fill,
            chunk=16,
            **{
                "shard": 64,
                "frame": FRAME,
                "kind": "distance",
                "array_attributes": encoding.attributes(),
                **options,
            },
        )
        for box in Box.of_shape(image.shape).split((64, 64, 64)):
            write_region(image.array(), box, codes[box.slices])
        return image.path

    return write


@pytest.fixture
def swc(tmp_path: Path) -> Path:
    write_swc(tmp_path / "truth.swc", NEURITE)
    return tmp_path / "truth.swc"
