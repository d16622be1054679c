"""A small brain for the neurite of this folder: dim, with a gap, beside bright blobs."""

from pathlib import Path

import numpy as np
from neurite import BOX, FRAME, SHAPE, true_distance
from numpy.typing import NDArray

from neuroconn.geometry import plan_levels
from neuroconn.volume import create_image, intensity_statistics, write_region
from neuroconn.volume.statistics import pack_histogram, voxel_histogram


def brain_voxels(seed: int = 0) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    distance = true_distance()
    raw = rng.normal(400, 30, SHAPE) + 500 * np.exp(-(distance**2) / 2)
    raw[:, 25:32] = rng.normal(400, 30, raw[:, 25:32].shape)  # the gap
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    for blob in rng.uniform(0, SHAPE, (12, 3)):
        raw[((grid - blob) ** 2).sum(axis=-1) < 9] += 1500
    return np.clip(raw, 0, 65535).astype(np.uint16)


def save_brain(path: Path, voxels: NDArray[np.generic], *, chunk: int = 16) -> Path:
    counts = voxel_histogram(voxels)
    image = create_image(
        path,
        levels=plan_levels(SHAPE),
        dtype=voxels.dtype,
        frame=FRAME,
        chunk=chunk,
        shard=2 * chunk,
        kind="brain",
        attributes={
            "intensity": {**intensity_statistics(counts), "histogram": pack_histogram(counts)}
        },
    )
    for box in BOX.split((2 * chunk,) * 3):
        write_region(image.array(0), box, np.ascontiguousarray(voxels[box.slices]))
    return image.path
