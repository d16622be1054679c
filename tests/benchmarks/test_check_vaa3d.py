"""What a check of a TeraFly tree costs: tags of tiles against tifffile, and a table of a million.

``pytest tests/benchmarks/test_check_vaa3d.py --benchmark-enable -s`` (some two minutes) prints

* for tiles of 256 pages, of one strip and of a strip a row: seconds of ``check_vaa3d`` a thousand
  tiles on one thread, and how often as long tifffile takes to read the same tags of every page;
* for a table of a million empty tiles: seconds and memory of a whole check.

Tiles are 16 voxels wide: what is read does not depend on it. Without ``--benchmark-enable`` there
are few.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from pytest_benchmark.fixture import BenchmarkFixture

from neuroconn.vaa3d.conformance import check_vaa3d
from neuroconn.vaa3d.mdata import FORMAT_NAME, Block, Column, TileTable, encode

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
MOST_BYTES = 1_000_000_000
PAGES = 256

CHECK = """
import json, sys, time
from pathlib import Path
from neuroconn.vaa3d.conformance import check_vaa3d
began = time.perf_counter()
report = check_vaa3d(sys.argv[1], threads=1)
# Of this program alone: what the system reports when it ends counts its parent too.
status = Path("/proc/self/status").read_text()
peak = 1024 * int(status.split("VmHWM:")[1].split()[0])
tiles = sum(level.tiles for level in report.levels)
print(json.dumps([time.perf_counter() - began, peak, tiles, report.count("error")]))
"""


def write_level(
    root: Path, rows: int, columns: int, blocks: int, rows_per_strip: int | None
) -> list[Path]:
    """Write a level of equal tiles, all of them hard links of one; without strips, of none."""
    level = root / f"RES({16 * rows}x{16 * columns}x{PAGES * blocks})"
    level.mkdir(parents=True)
    tile = root / "tile.tif"
    if rows_per_strip:
        with tifffile.TiffWriter(tile) as writer:
            for _ in range(PAGES):
                writer.write(
                    np.ones((16, 16), np.uint16), photometric="minisblack", metadata=None,
                    contiguous=False, rowsperstrip=rows_per_strip,
                )  # fmt: skip
    paths, table = [], []
    for y in range(rows):
        row = []
        for x in range(columns):
            folder = f"{160 * y:07}/{160 * y:07}_{160 * x:07}"
            listed: list[Block] = []
            for z in range(blocks):
                name = f"{160 * y:07}_{160 * x:07}_{10 * PAGES * z:07}.tif"
                listed.append(Block(name if rows_per_strip else None, PAGES * z, PAGES))
                if rows_per_strip:
                    path = level / folder / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.hardlink_to(tile)
                    paths.append(path)
            row.append(Column(folder, (16 * y, 16 * x), (16, 16), tuple(listed)))
        table.append(tuple(row))
    shape = PAGES * blocks, 16 * rows, 16 * columns
    data = encode(TileTable(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(table)))
    (level / "mdata.bin").write_bytes(data)
    (level / ".iim.format").write_text(FORMAT_NAME)
    return paths


@pytest.mark.parametrize("rows_per_strip", [16, 1], ids=["a strip a page", "a strip a row"])
def test_tags_are_read_faster_than_by_tifffile(
    rows_per_strip: int, tmp_path: Path, benchmark: BenchmarkFixture
) -> None:
    side = 2 if benchmark.disabled else 10
    tiles = write_level(tmp_path, side, side, 2, rows_per_strip)

    def theirs() -> float:
        began = time.perf_counter()
        for path in tiles:
            with tifffile.TiffFile(path) as tif:
                for page in tif.pages:
                    _ = page.shape, page.dataoffsets, page.databytecounts  # type: ignore[union-attr]
        return time.perf_counter() - began

    def ours() -> Any:
        return check_vaa3d(tmp_path, threads=1)

    baseline = theirs()
    report = benchmark.pedantic(ours, rounds=1)

    assert report.levels[0].encodings == (("none", len(tiles)),)
    if not benchmark.disabled:
        took = report.seconds
        benchmark.extra_info["times faster than tifffile"] = baseline / took
        sys.stdout.write(
            f"\n{rows_per_strip} rows a strip: {1000 * took / len(tiles):.2f} s a thousand tiles "
            f"of {PAGES} pages, tifffile {baseline / took:.1f} times as long\n"
        )
        assert took < baseline


def test_a_table_of_a_million_tiles_is_checked_in_little_memory(
    tmp_path: Path, benchmark: BenchmarkFixture
) -> None:
    side = 10 if benchmark.disabled else 224
    write_level(tmp_path, side, side, 20, None)

    def check() -> list[float]:
        done = subprocess.run(
            [sys.executable, "-c", CHECK, str(tmp_path)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        found: list[float] = json.loads(done.stdout)
        return found

    seconds, peak, tiles, errors = benchmark.pedantic(check, rounds=1)

    assert tiles == 20 * side**2
    assert errors == 1  # there is but one level
    assert peak < MOST_BYTES
    if not benchmark.disabled:
        sys.stdout.write(f"\n{tiles:,.0f} empty tiles: {seconds:.1f} s, {peak / 1e6:.0f} MB\n")
