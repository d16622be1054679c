"""Converting a folder of TIFF slices, against the least any converter must do.

``pytest tests/benchmarks/test_convert.py --benchmark-enable -s`` prints, for the same slices,

* floor: every plane is read by tifffile and written to one file as it is, then synced;
* naive: zarr-python writes slabs of planes, same shards and codec, then synced; one level;
* level 0: ``convert`` without the pyramid; histogram, journal, checksums and syncs included;
* convert: as users run it, all levels.

Each runs in a process of its own, which says what its memory grew by at most: the high-water mark
of ``/proc/self/status``, since ``ru_maxrss`` starts at that of the parent. NEUROCONN_BENCH_MB sets
the size; the slices have been read once, so they come from memory in all four.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from workloads import slices

METHODS = ("floor", "naive", "level 0", "convert")
ROUNDS = 3

MEASURE = """
import json, os, sys, time, zlib
from pathlib import Path
import numpy as np, tifffile, zarr
import neuroconn.volume
from neuroconn.volume import open_image

method, source, output = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
files = sorted(source.glob("*.tif"))
first = tifffile.imread(files[0])
shape = (len(files), *first.shape)

def sync(path):
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())

def floor():
    with output.open("wb") as out:
        for file in files:
            out.write(tifffile.imread(file).tobytes())
    sync(output)

def naive():
    depth = min(256, -(-len(files) // 64) * 64)
    array = zarr.create_array(
        output, shape=shape, dtype=first.dtype, chunks=(64, 64, 64), shards=(depth, 256, 256),
        compressors=zarr.codecs.BloscCodec(typesize=2, cname="zstd", clevel=3, shuffle="shuffle"),
    )
    for z in range(0, len(files), depth):
        array[z : z + depth] = np.stack([tifffile.imread(f) for f in files[z : z + depth]])
    sync(output)

def ours(smallest):
    neuroconn.volume.convert(source, output, spacing=(1, 1, 1), smallest=smallest)

runs = {"floor": floor, "naive": naive, "level 0": lambda: ours(1 << 30),
        "convert": lambda: ours(256)}
reads = {"floor": lambda: np.fromfile(output, first.dtype),
         "naive": lambda: zarr.open_array(output)[:],
         "level 0": lambda: open_image(output).array(0)[:],
         "convert": lambda: open_image(output).array(0)[:]}

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024

before, start, cpu = peak(), time.perf_counter(), time.process_time()
runs[method]()
found = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu,
         "memory": peak() - before}
stored = [output] if output.is_file() else output.rglob("*")
found["stored"] = sum(f.stat().st_size for f in stored if f.is_file())
found["crc"] = zlib.crc32(np.ascontiguousarray(reads[method]()).data)
print(json.dumps(found))
"""


def measure(method: str, source: Path, output: Path) -> dict[str, float]:
    """Run one method in a fresh process."""
    words = [sys.executable, "-c", MEASURE, method, str(source), str(output)]
    out = subprocess.run(words, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(out.stdout)
    return found


def compare(source: Path, folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Run the methods in turn, and keep the median of each by wall time."""
    found: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    for number in range(rounds):
        for method in METHODS:
            found[method].append(measure(method, source, folder / f"{method}-{number}"))
    return {
        method: sorted(runs, key=lambda run: run["seconds"])[rounds // 2]
        for method, runs in found.items()
    }


def table(found: dict[str, dict[str, float]], size: float) -> str:
    """Return the table of a comparison; ``size`` in bytes of voxels."""
    floor, naive = found["floor"]["seconds"], found["naive"]["seconds"]
    lines = [
        f"converting {size / 1e6:.0f} MB of TIFF slices",
        f"{'':10}{'MB/s':>7}{'/ floor':>9}{'/ naive':>9}{'CPU s':>8}{'memory MB':>11}"
        f"{'stored MB':>11}",
    ]
    for method, run in found.items():
        seconds = run["seconds"]
        lines.append(
            f"{method:10}{size / seconds / 1e6:7.0f}{seconds / floor:9.2f}{seconds / naive:9.2f}"
            f"{run['cpu']:8.2f}{run['memory'] / 1e6:11.0f}{run['stored'] / 1e6:11.0f}"
        )
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_folder_of_slices_against_the_floor(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    small = bool(benchmark.disabled)
    megabytes = int(os.environ.get("NEUROCONN_BENCH_MB", "8" if small else "256"))
    source = slices(tmp_path / "slices", megabytes)
    size = sum(file.stat().st_size for file in source.iterdir())

    found: dict[str, Any] = benchmark.pedantic(
        compare, args=(source, tmp_path, 1 if small else ROUNDS), rounds=1
    )

    benchmark.extra_info.update(found)
    print("\n" + table(found, size))
    assert len({run["crc"] for run in found.values()}) == 1, "all must store the same voxels"
    assert found["level 0"]["stored"] < found["convert"]["stored"] < size
