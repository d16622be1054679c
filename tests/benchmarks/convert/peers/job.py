"""What every converter is asked, and how it is timed: without imports, with child processes.

Run inside the environment of the peer, which knows nothing of this project.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LEVEL = 1
"""Compression level of blosc-zstd, for every peer that lets it be set."""


@dataclass(frozen=True)
class Job:
    """One conversion."""

    source: str
    """Folder of TIFF slices, or what ``option`` makes of it."""
    output: str
    """Does not exist."""
    threads: int
    levels: int
    option: str
    """What distinguishes the rows of one peer, such as a layout or a method."""

    @property
    def files(self) -> list[Path]:
        """The slices, in order."""
        return sorted(Path(self.source).glob("*.tif"))

    @property
    def factors(self) -> list[int]:
        """Total factor of each level above level 0."""
        return [2**level for level in range(1, self.levels)]


def timed(
    prepare: Callable[[Job], Callable[[], dict[str, Any] | None]],
    packages: tuple[str, ...],
) -> None:
    """Import, then convert the job given as argument; print what it took as one JSON line."""
    job = Job(**json.loads(sys.argv[1]))
    convert = prepare(job)
    before, start = sum(os.times()[:4]), time.perf_counter()
    extra = convert() or {}
    found = {"wall": time.perf_counter() - start, "cpu_before": before}
    print(json.dumps({**found, **extra, "versions": _versions(packages)}), flush=True)


def lazy_stack(job: Job) -> Any:
    """Return the slices as a Dask array, one task a slice."""
    import dask
    import dask.array as da
    import tifffile

    first = tifffile.imread(job.files[0])
    read = dask.delayed(tifffile.imread)
    return da.stack([da.from_delayed(read(f), first.shape, first.dtype) for f in job.files])


def two_threads(job: Job) -> None:
    """Hold Dask and zarr-python to the threads of the job."""
    import dask
    import zarr

    dask.config.set(scheduler="threads", num_workers=job.threads)
    zarr.config.set({"threading.max_workers": job.threads})


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in (*packages, "zarr", "numcodecs", "tensorstore", "dask", "numpy", "tifffile"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
