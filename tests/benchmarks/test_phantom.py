"""How fast phantoms are drawn, and what a virtual whole brain costs to open.

``pytest tests/benchmarks/test_phantom.py --benchmark-enable --benchmark-only -s`` prints the
figures. Without these flags each piece of work runs once, as a test of its result. Time is that of
the processor: the work is done by one thread, and the machine may be busy.
"""

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from neuroconn.geometry import Box, ChunkGrid
from neuroconn.phantom import Growth, Phantom, grow

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

pytestmark = pytest.mark.benchmark(timer=time.process_time)

SHAPE = (3249, 5399, 4982)
CHUNK = 128
WHOLE_BRAIN = """
import json, sys, time
from pathlib import Path

import numpy as np

from neuroconn.geometry import Box
from neuroconn.phantom import Growth, Phantom, grow

# Compile, or load what was compiled, before the clock starts.
small = Growth(length=100.0)
Phantom((8, 8, 8), [grow(small, np.random.default_rng(0), root=(4.0, 4.0, 4.0))]).neurite_chunks(8)

shape, neurons, length = json.loads(sys.argv[1])
rng = np.random.default_rng(0)
growth = Growth(length=length, persistence=200.0, branching=0.008)
roots = rng.uniform(0.3, 0.7, (neurons, 3)) * shape
bounds = Box.of_shape(tuple(shape))
forests = [grow(growth, rng, root=tuple(root), bounds=bounds) for root in roots]
start = time.process_time()
brain = Phantom(tuple(shape), forests, seed=1)
opened = time.process_time() - start
start = time.process_time()
chunks = brain.neurite_chunks(128)
listed = time.process_time() - start
corner = np.multiply(chunks[len(chunks) // 2], 128)
box = Box(tuple(corner.tolist()), tuple((corner + 128).tolist()))
brain.image(box), brain.distance(box)
start = time.process_time()
image, distance = brain.image(box), brain.distance(box)
drawn = time.process_time() - start
# ru_maxrss would start at the peak of the process that started this one.
status = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024
print(json.dumps({
    "voxels_of_neurite": sum(f.length for f in forests),
    "segments": len(brain.scene.fibres.start),
    "open_s": opened,
    "list_s": listed,
    "chunks": len(chunks),
    "share": len(chunks) / np.prod(np.ceil(np.divide(shape, 128))),
    "chunk_s": drawn,
    "peak_bytes": peak,
    "nearest": float(distance.min()),
    "brightest": int(image.max()),
}))
"""


@pytest.fixture(scope="module")
def brain() -> Phantom:
    """Four long neurons in a box of eight chunks: a few percent of the space, as in brains."""
    shape = (2 * CHUNK,) * 3
    rng = np.random.default_rng(0)
    growth = Growth(length=600.0, persistence=150.0)
    roots = rng.uniform(0, shape, (4, 3))
    return Phantom(shape, [grow(growth, rng, root=tuple(r)) for r in roots], seed=1)


@pytest.fixture(scope="module")
def box(brain: Phantom) -> Box:
    """A chunk that a neurite passes through."""
    return ChunkGrid(brain.shape, (CHUNK,) * 3).core(brain.neurite_chunks(CHUNK)[0])


def speed(benchmark: "BenchmarkFixture", box: Box, what: str) -> None:
    """Print and keep the speed in million voxels a second."""
    if benchmark.enabled:
        rate = box.size / benchmark.stats.stats.median / 1e6
        benchmark.extra_info["Mvoxel/s"] = round(rate, 1)
        print(f"\n{what} of a sparse {CHUNK}^3 chunk, one core: {rate:.0f} Mvoxel/s")


def test_image_of_a_sparse_chunk(benchmark: "BenchmarkFixture", brain: Phantom, box: Box) -> None:
    image = benchmark(brain.image, box)

    speed(benchmark, box, "image")
    assert image.shape == box.shape


def test_distance_of_a_sparse_chunk(
    benchmark: "BenchmarkFixture", brain: Phantom, box: Box
) -> None:
    distance = benchmark(brain.distance, box)

    speed(benchmark, box, "distance")
    assert distance.min() < 1 < distance.max() == 10


def test_image_and_distance_of_a_sparse_chunk(
    benchmark: "BenchmarkFixture", brain: Phantom, box: Box
) -> None:
    def both() -> tuple[Any, Any]:
        return brain.image(box), brain.distance(box)

    image, distance = benchmark(both)

    speed(benchmark, box, "image and distance")
    assert image.shape == distance.shape


@pytest.mark.benchmark(timer=time.perf_counter)
def test_a_virtual_brain_opens_in_little_memory(benchmark: "BenchmarkFixture") -> None:
    """20 neurons in 3249 x 5399 x 4982 voxels, 175 GB as uint16; in its own process for the peak.

    When benchmarks are off, a brain of three short neurons checks the same path.
    """
    size = [SHAPE, 20, 27_000.0] if benchmark.enabled else [SHAPE, 3, 900.0]

    def process() -> dict[str, float]:
        out = subprocess.run(
            [sys.executable, "-c", WHOLE_BRAIN, json.dumps(size)],
            capture_output=True,
            text=True,
            check=True,
        )
        found: dict[str, float] = json.loads(out.stdout)
        return found

    found = benchmark.pedantic(process, rounds=1)

    benchmark.extra_info.update(found)
    if benchmark.enabled:
        print(
            f"\nvirtual brain of {SHAPE}, {found['voxels_of_neurite'] / 1e6:.2f} M voxels of "
            f"neurite in {found['segments']:.0f} pieces: opens in {found['open_s']:.2f} s, peak "
            f"{found['peak_bytes'] / 1e6:.0f} MB; {found['chunks']:.0f} chunks of 128^3 "
            f"({found['share']:.2%}) listed in {found['list_s']:.2f} s; image and distance of one "
            f"in {found['chunk_s']:.3f} s"
        )
    assert found["nearest"] < 1
    assert found["brightest"] > 1000
    assert found["peak_bytes"] < 1e9
