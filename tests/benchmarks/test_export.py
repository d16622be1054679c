"""Exports to TeraFly against a plain loop that writes the same tiles, and in little memory.

``pytest tests/benchmarks/test_export.py --benchmark-enable -s`` (some five minutes) prints

* for each compression: seconds of ``neuroconn.export`` on two threads (reading brain and map,
  overlay, whole pyramid, every file on disk before it has its name) against a loop of
  ``tifffile.imwrite`` over the tiles of level 0, which are in memory; the loop as it is, and with
  an ``fsync`` a file, without which it is over before its tiles are on disk;
* for a virtual brain of 100 GB, of which a slab is stored: the highest memory of the process.

Without ``--benchmark-enable`` the volumes are small.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tifffile
from exported_brain import store_pair
from pytest_benchmark.fixture import BenchmarkFixture

from neuroconn.exporter import export
from neuroconn.geometry import ZYX, Box
from neuroconn.vaa3d.reader import TeraflyVolume

WHOLE: ZYX = (512, 512, 1024)
SMALL: ZYX = (64, 64, 128)
VIRTUAL = ((2560, 4480, 4480), Box((1280, 0, 2048), (1536, 4480, 2304)))
"""102.8 GB of voxels, and a slab through the middle: 18 tiles."""
SMALL_VIRTUAL = ((512, 512, 768), Box((256, 0, 256), (512, 256, 512)))
MOST_BYTES = 1_000_000_000
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Gigabytes, removed at the end."""
    path = tmp_path_factory.mktemp("export")
    yield path
    shutil.rmtree(path)


def plain_loop(
    tiles: list[Any], target: Path, compression: str, *, sync: bool
) -> tuple[float, float]:
    """Write tiles one after the other; return seconds, and seconds of processors."""
    target.mkdir()
    began, busy = time.perf_counter(), time.process_time()
    for number, tile in enumerate(tiles):
        path = target / f"{number}.tif"
        tifffile.imwrite(
            path,
            tile,
            photometric="minisblack",
            metadata=None,
            compression=None if compression == "none" else compression,
        )
        if sync:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    took = time.perf_counter() - began, time.process_time() - busy
    shutil.rmtree(target)
    return took


@pytest.mark.parametrize("compression", ["none", "zlib", "lzw"])
def test_an_export_takes_little_longer_than_writing_its_tiles(
    compression: Any, folder: Path, benchmark: BenchmarkFixture
) -> None:
    shape, tile = (SMALL, 32) if benchmark.disabled else (WHOLE, 256)
    pair = folder / "pair"
    if not pair.exists():
        store_pair(pair, shape, Box.of_shape(shape), shard=tile)
    brain, distance = pair / "brain.ome.zarr", pair / "distance.ome.zarr"
    tree, busy = folder / "tree", [0.0]

    def run() -> None:
        began = time.process_time()
        export(brain, distance, tree, tile=tile, compression=compression, threads=2)
        busy[0] = time.process_time() - began

    run()  # compiles, and reads the images into memory
    level = TeraflyVolume(tree).levels[0]
    tiles = [level.read(box) for box, _ in level.tiles()]
    assert len(tiles) == shape[0] * shape[1] * shape[2] // tile**3
    assert all(voxels.any() for voxels in tiles), "the loop would write what the export does not"
    rounds = 1 if benchmark.disabled else 3
    loops = [plain_loop(tiles, folder / "loop", compression, sync=False) for _ in range(rounds)]
    synced = [plain_loop(tiles, folder / "loop", compression, sync=True) for _ in range(rounds)]
    benchmark.pedantic(run, setup=lambda: shutil.rmtree(tree), rounds=rounds)
    shutil.rmtree(tree)

    seconds = busy[0] if benchmark.disabled else benchmark.stats.stats.min
    plain, durable = min(loops), min(synced)
    figures = {
        "seconds": seconds,
        "against_loop": seconds / plain[0],
        "against_synced_loop": seconds / durable[0],
        "processor_time_against_loop": busy[0] / plain[1],
    }
    benchmark.extra_info.update(figures)
    print(
        f"\n{compression}: {len(tiles)} tiles of {tile}^3 in {seconds:.2f} s, "
        f"{figures['against_loop']:.2f} x a plain loop ({plain[0]:.2f} s), "
        f"{figures['against_synced_loop']:.2f} x one that waits for the disk ({durable[0]:.2f} s); "
        f"processor time {figures['processor_time_against_loop']:.2f} x"
    )


def test_memory_does_not_grow_with_the_volume(folder: Path, benchmark: BenchmarkFixture) -> None:
    shape, slab = SMALL_VIRTUAL if benchmark.disabled else VIRTUAL
    script = Path(__file__).with_name("exported_brain.py")
    numbers = map(str, (*shape, *slab.start, *slab.stop))

    def run() -> dict[str, Any]:
        ended = subprocess.run(
            [sys.executable, script, folder / "virtual", *numbers], check=True, capture_output=True
        )
        found: dict[str, Any] = json.loads(ended.stdout)
        return found

    found = benchmark.pedantic(run, rounds=1)

    benchmark.extra_info.update(found)
    print(
        f"\nvirtual brain of {shape}: {found['tiles']} tiles, {found['empty']} empty, in "
        f"{found['seconds']:.0f} s; at most {found['peak_bytes'] / 1e6:.0f} MB "
        f"({found['before_bytes'] / 1e6:.0f} before it began)"
    )
    assert found["tiles"] > found["empty"] > 0
    assert found["peak_bytes"] <= MOST_BYTES
