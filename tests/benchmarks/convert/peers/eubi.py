"""eubi-bridge, by its command line; ``option`` is its downscale method, "simple" (stride) or "max".

A command line pays for its start, so that is timed too: its help, which imports what it needs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from job import LEVEL, Job, timed


def prepare(job: Job) -> Callable[[], dict[str, Any]]:
    command = str(Path(sys.executable).parent / "eubi")
    settings = Path(job.output).parent / "eubi-settings"
    environment = {**os.environ, "EUBI_CONFIG_DIR": str(settings)}
    start = time.perf_counter()
    subprocess.run(
        [command, "to_zarr", "--help"], env=environment, capture_output=True, check=False
    )
    startup = time.perf_counter() - start

    def run() -> dict[str, Any]:
        subprocess.run([command, *_words(job)], env=environment, stdout=sys.stderr, check=True)
        return {"startup": startup}

    return run


def _words(job: Job) -> list[str]:
    flags: dict[str, Any] = {
        "output_path": job.output,
        "includes": "*.tif",
        "concatenation_axes": "z",
        "z_tag": "slice_z",
        "zarr_format": 3,
        "n_layers": job.levels,
        "downscale_method": job.option,
        "auto_chunk": False,
        "compressor": "blosc",
        "compressor_params": json.dumps({"cname": "zstd", "clevel": LEVEL, "shuffle": 2}),
        "max_processes": 1,
        "max_threads": job.threads,
        "decode_threads": job.threads,
        "overwrite": False,
    }
    for axis in "zyx":
        flags[f"{axis}_chunk"], flags[f"{axis}_shard_coef"] = 64, 4
        flags[f"{axis}_scale"], flags[f"{axis}_unit"] = 1.0, "micrometer"
    return ["to_zarr", job.source, *(f"--{name}={value}" for name, value in flags.items())]


if __name__ == "__main__":
    timed(prepare, ("eubi-bridge", "ome_zarr_pyramid", "micro-reader"))
