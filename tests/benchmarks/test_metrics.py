"""What an evaluation costs: time against reading the map, memory against its size.

``pytest tests/benchmarks/test_metrics.py --benchmark-enable -s`` evaluates a sparse map of 512^3
with all metrics in a process of its own, and prints its seconds, those of reading the same voxels
and of one distance transform of them, and its peak memory; then again for a map of twice the
depth. Without ``--benchmark-enable`` the maps are small.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import edt
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from neuroconn.annotation import concatenate, distance_block, write_swc
from neuroconn.geometry import ZYX, Box, Frame, Level
from neuroconn.inference.encoding import Encoding
from neuroconn.phantom import Growth, grow
from neuroconn.volume import create_image, open_image, write_region

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

PROGRAM = """
import json, resource, sys, time
from neuroconn.evaluation import evaluate
evaluate(*sys.argv[3:5], units="voxel")  # compiles
before = time.perf_counter()
scores = evaluate(*sys.argv[1:3], units="voxel")
seconds = time.perf_counter() - before
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "peak_mib": peak, "quality": scores.counts.quality}))
"""


def sparse_map(folder: Path, shape: ZYX) -> tuple[Path, Path]:
    """A perfect map that was explored around its neurites, with a neuron for each 256^3."""
    folder.mkdir()
    rng, box = np.random.default_rng(0), Box.of_shape(shape)
    count = max(1, box.size // 256**3)
    growth = Growth(length=600.0, persistence=200.0, branching=0.008)
    roots = rng.uniform(0.1, 0.9, (count, 3)) * shape
    forest = concatenate([grow(growth, rng, root=tuple(root), bounds=box) for root in roots])
    forest = forest.at(np.clip(forest.positions, 0, np.subtract(shape, 1)))
    write_swc(folder / "truth.swc", forest)
    encoding = Encoding("uint8", 10.0)
    image = create_image(
        folder / "map.ome.zarr",
        levels=[Level(shape, (1, 1, 1), (1, 1, 1))],
        dtype="uint8",
        frame=Frame((1.0, 1.0, 1.0)),
        fill_value=encoding.fill,
        chunk=64,
        shard=128,
        kind="distance",
        array_attributes=encoding.attributes(),
    )
    for index in (grid := image.grid()):
        distance = distance_block(forest, core := grid.core(index))
        if distance.min() < encoding.clip:
            write_region(image.array(), core, encoding.encode(distance))
    return image.path, folder / "truth.swc"  # type: ignore[return-value]


def run(*paths: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, paths)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def baselines(path: Path) -> tuple[float, float]:
    """Seconds to read a map, and for one distance transform of all its voxels, by slabs."""
    image = open_image(path)
    read = transformed = 0.0
    for slab in Box.of_shape(image.shape).split((128, *image.shape[1:])):
        before = time.perf_counter()
        codes = np.asarray(image.array()[slab.slices])
        between = time.perf_counter()
        edt.edt(codes > 75, parallel=1)
        read, transformed = read + between - before, transformed + time.perf_counter() - between
    return read, transformed


def test_an_evaluation_costs_little_and_its_memory_does_not_grow(
    tmp_path: Path, benchmark: BenchmarkFixture
) -> None:
    edge = 96 if benchmark.disabled else 512
    small = sparse_map(tmp_path / "warm", (64, 64, 64))
    one = sparse_map(tmp_path / "one", (edge, edge, edge))
    two = sparse_map(tmp_path / "two", (2 * edge, edge, edge))

    found = benchmark.pedantic(run, args=(*one, *small), rounds=1)

    double, (read, transformed) = run(*two, *small), baselines(one[0])
    voxels = edge**3 / 1e6
    benchmark.extra_info.update(found, double=double, read=read, transformed=transformed)
    print(
        f"\n{edge}^3, all metrics: {found['seconds']:.1f} s ({voxels / found['seconds']:.1f} "
        f"Mvoxel/s), {found['seconds'] / transformed:.1f} x one distance transform of the map "
        f"({transformed:.1f} s; reading {read:.2f} s), peak {found['peak_mib']:.0f} MiB; "
        f"twice the voxels: {double['seconds']:.1f} s, peak {double['peak_mib']:.0f} MiB"
    )
    assert found["quality"] > 0.95
    assert double["peak_mib"] < 1.25 * found["peak_mib"]
