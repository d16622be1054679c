"""The least any converter must do with the same bytes: read (R), encode (E), write (W).

``floor = max(W, (R + E) / cores)`` with R and E in processor seconds. Run as a child::

    floor.py read FOLDER THREADS            every slice decoded, and dropped
    floor.py encode FOLDER THREADS LEVELS CLEVEL    blosc-zstd over contiguous 64^3 chunks
    floor.py write FILE OUTPUT              the bytes of FILE, from memory, as one new file
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numcodecs.blosc
import numpy as np
import tifffile
from brain import pyramid, read_slices

CHUNK = 64
BUFFER = 16 << 20


def read(folder: str, threads: str) -> dict[str, float]:
    """Decode every slice, ``threads`` at a time."""
    files = sorted(Path(folder).glob("*.tif"))
    tifffile.imread(files[0], maxworkers=1)  # loads the decoder

    def decode(file: Path) -> int:
        return int(tifffile.imread(file, maxworkers=1).nbytes)

    with ThreadPoolExecutor(int(threads)) as pool:
        before, start = time.process_time(), time.perf_counter()
        size = sum(pool.map(decode, files))
        wall, cpu = time.perf_counter() - start, time.process_time() - before
    return {"wall": wall, "cpu_s": cpu, "voxel_bytes": size}


def encode(folder: str, threads: str, levels: str, clevel: str) -> dict[str, float]:
    """Compress every 64^3 chunk of every level in one thread; copying it out is not counted."""
    numcodecs.blosc.use_threads = False
    codec = numcodecs.Blosc("zstd", int(clevel), numcodecs.Blosc.SHUFFLE)
    volume = read_slices(sorted(Path(folder).glob("*.tif")), int(threads))
    found = {"cpu_s": 0.0, "cpu_s_level_0": 0.0, "bytes": 0.0, "bytes_level_0": 0.0}
    for number, level in enumerate(pyramid(volume, int(levels))):
        for corner in product(*(range(0, n, CHUNK) for n in level.shape)):
            z, y, x = (slice(c, c + CHUNK) for c in corner)
            chunk = np.ascontiguousarray(level[z, y, x])
            before = time.process_time()
            size = len(codec.encode(chunk))
            cpu = time.process_time() - before
            found["cpu_s"] += cpu
            found["bytes"] += size
            if number == 0:
                found["cpu_s_level_0"] += cpu
                found["bytes_level_0"] += size
    return found


def write(payload: str, output: str) -> dict[str, float]:
    """Write bytes that are in memory as one file, then sync; the file is removed."""
    content = Path(payload).read_bytes()
    os.sync()
    start = time.perf_counter()
    with Path(output).open("wb") as file:
        for first in range(0, len(content), BUFFER):
            file.write(content[first : first + BUFFER])
    wall = time.perf_counter() - start
    os.sync()
    durable = time.perf_counter() - start
    Path(output).unlink()
    return {"wall": wall, "durable": durable, "bytes": len(content)}


if __name__ == "__main__":
    parts: dict[str, Callable[..., dict[str, float]]] = {
        "read": read,
        "encode": encode,
        "write": write,
    }
    print(json.dumps(parts[sys.argv[1]](*sys.argv[2:])))
