"""What tracing costs in time and memory, against thinning the whole volume at once.

``pytest tests/benchmarks/test_trace.py --benchmark-enable --benchmark-only -s`` prints seconds and
peak memory a million explored voxels of `trace`, and of reading the map whole and thinning it with
scikit-image. Each runs in a process of its own, by one thread, after a warm-up; seconds are those
of the processor. Without these flags both run on a small map, as a test of their results.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from neuroconn.geometry import ZYX, Box, Frame, Level
from neuroconn.inference.encoding import Encoding
from neuroconn.phantom import Growth, Phantom, grow
from neuroconn.volume import create_image, write_region

CODE = """
import json, sys, time
import numpy as np
from neuroconn.geometry import Box
from neuroconn.metrics import skeleton, skeleton_graph
from neuroconn.tracing import TraceSettings, trace
from neuroconn.volume import open_volume

way, path, warm, side = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])

def whole(path):
    mask = (open_volume(path) < 3.0).values
    return skeleton_graph(skeleton(mask)).length

def ours(path):
    return trace(path, units="voxel", settings=TraceSettings(shortest=0), block=side).report.length

def highest():  # ru_maxrss would start at the peak of the process that started this one
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

job = {"whole": whole, "trace": ours}[way]
job(warm)
before = highest()
start = time.process_time()
length = job(path)
seconds = time.process_time() - start
peak = highest() - before
print(json.dumps({"seconds": seconds, "mib": peak / 1024, "length": length}))
"""


def stored_map(path: Path, shape: ZYX, neurons: int, chunk: int) -> tuple[Path, float]:
    """Store the map of a phantom where it holds a neurite; also return million stored voxels."""
    rng = np.random.default_rng(0)
    growth = Growth(length=1500.0, branching=0.008)
    bounds = Box.of_shape(shape)
    roots = rng.uniform(0.2, 0.8, (neurons, 3)) * shape
    phantom = Phantom(
        shape, [grow(growth, rng, root=tuple(root), bounds=bounds) for root in roots], seed=0
    )
    encoding = Encoding("uint8", 10.0)
    image = create_image(
        path,
        levels=[Level(shape, (1, 1, 1), (1, 1, 1))],
        dtype="uint8",
        frame=Frame((1.0, 1.0, 1.0)),
        chunk=chunk,
        shard=None,
        fill_value=255,
        kind="distance",
        array_attributes=encoding.attributes(),
    )
    explored = 0
    for box in bounds.split((chunk, chunk, chunk)):
        distance = phantom.distance(box)
        if (distance < 3).any():
            write_region(image.array(), box, encoding.encode(distance))
            explored += box.size
    return path, explored / 1e6


def measure(way: str, path: Path, warm: Path, block: int) -> dict[str, Any]:
    command = [sys.executable, "-c", CODE, way, str(path), str(warm), str(block)]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(out.stdout)
    return result


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_tracing_against_thinning_the_whole(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    small = benchmark.disabled
    warm, _ = stored_map(tmp_path / "warm.ome.zarr", (32, 32, 32), 1, 16)
    shape = (64, 96, 96) if small else (512, 768, 768)
    path, explored = stored_map(tmp_path / "map.ome.zarr", shape, 2 if small else 12, 64)

    ours = benchmark.pedantic(measure, args=("trace", path, warm, 256), rounds=1)
    whole = measure("whole", path, warm, 256)

    benchmark.extra_info.update(trace=ours, whole=whole, explored_mvoxel=explored)
    print(f"\n{np.prod(shape) / 1e6:.0f} Mvoxel, of which {explored:.1f} are explored")
    for name, result in (("trace", ours), ("whole-volume skeletonize", whole)):
        each, memory = result["seconds"] / explored, result["mib"] / explored
        print(
            f"{name:25}{result['seconds']:8.2f} s {result['mib']:8.0f} MiB   an explored Mvoxel: "
            f"{each:.3f} s {memory:.1f} MiB; {result['length']:.0f} voxels of line"
        )
    assert ours["length"] == pytest.approx(whole["length"], rel=0.25)  # it has spurs and zigzags


@pytest.mark.slow
def test_links_of_a_million_voxels(benchmark: BenchmarkFixture) -> None:
    from neuroconn.metrics.skeleton_graph import voxel_graph

    rng = np.random.default_rng(0)
    steps = rng.integers(-1, 2, (5_000 if benchmark.disabled else 1_250_000, 3))
    voxels = np.unique(np.cumsum(np.add(steps, (0, 0, 1)), axis=0), axis=0)

    graph = benchmark(voxel_graph, voxels)

    assert len(graph) == len(voxels)
