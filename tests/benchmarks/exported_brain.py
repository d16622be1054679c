"""Brains and maps for the benchmark of exports; as a script, one export and what memory it took.

``python exported_brain.py FOLDER SHAPE... SLAB...`` makes a brain of SHAPE of which only a slab is
stored, exports what was explored of it on two threads, and prints JSON. What is not stored takes no
space, and all tiles are gone through all the same.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.exporter import export
from neuroconn.geometry import ZYX, Box, Frame, Level, plan_levels
from neuroconn.volume import Image, create_image, intensity_statistics, write_region
from neuroconn.volume.statistics import pack_histogram, voxel_histogram

SHARD = 256


def store_pair(folder: Path, shape: ZYX, stored: Box, shard: int = SHARD) -> tuple[Path, Path]:
    """Store a noisy brain and a map with distances all over ``stored``, nothing elsewhere.

    Every shard of each has the same voxels, so that making them is quick.
    """
    rng = np.random.default_rng(0)
    raw = rng.gamma(2, 200, (shard,) * 3).astype(np.uint16)
    codes = np.minimum(250, rng.gamma(4, 40, (shard,) * 3)).astype(np.uint8)
    counts = voxel_histogram(raw)
    brain = _create(folder / "brain.ome.zarr", shape, "brain", np.uint16, shard)
    notes = {**intensity_statistics(counts), "histogram": pack_histogram(counts)}
    brain.update_attributes({"intensity": notes})
    distance = _create(folder / "distance.ome.zarr", shape, "distance", np.uint8, shard)
    for image, voxels in ((brain, raw), (distance, codes)):
        _fill(image, voxels, stored)
    return brain.folder, distance.folder


def _create(path: Path, shape: ZYX, kind: Any, dtype: Any, shard: int) -> Image:
    return create_image(
        path,
        levels=[Level(shape, (1, 1, 1), (1, 1, 1))] if kind == "brain" else plan_levels(shape),
        dtype=dtype,
        frame=Frame((1.0, 1.0, 1.0)),
        chunk=shard // 4,
        shard=shard,
        kind=kind,
        fill_value=0 if kind == "brain" else 255,
        array_attributes=None if kind == "brain" else {"scale_factor": 0.04, "_FillValue": 255},
    )


def _fill(image: Image, voxels: NDArray[Any], stored: Box) -> None:
    grid, array = image.grid(), image.array(0)
    for index in grid.overlapping(stored):
        core = grid.core(index)
        z, y, x = core.shape
        write_region(array, core, np.ascontiguousarray(voxels[:z, :y, :x]))


def peak_bytes() -> int:
    """Return the highest memory of this process; ru_maxrss would be its parent's at the start."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def main(folder: Path, shape: ZYX, slab: Box) -> None:
    """Export a brain of which a slab is stored; print what it took."""
    brain, distance = store_pair(folder, shape, slab)
    before = peak_bytes()
    began, busy = time.perf_counter(), time.process_time()
    report = export(brain, distance, folder / "tree", threads=2, only_explored=True)
    found = {
        "seconds": time.perf_counter() - began,
        "processor_seconds": time.process_time() - busy,
        "peak_bytes": peak_bytes(),
        "before_bytes": before,
        "tiles": report.written,
        "empty": sum(level.empty for level in report.levels),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    z, y, x, *corners = map(int, sys.argv[2:])
    start, stop = corners[:3], corners[3:]
    main(Path(sys.argv[1]), (z, y, x), Box(tuple(start), tuple(stop)))  # type: ignore[arg-type]
