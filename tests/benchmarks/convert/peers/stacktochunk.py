"""stack-to-chunk: shards as wide as a plane, level from stored level; ``option``: mean or max."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from job import LEVEL, Job, lazy_stack, timed, two_threads


def prepare(job: Job) -> Callable[[], None]:
    import numpy as np
    from loguru import logger
    from pydantic_zarr.v3 import ArraySpec, NamedConfig, RegularChunking, RegularChunkingConfig
    from stack_to_chunk import MultiScaleGroup

    logger.remove()
    two_threads(job)
    parts = (ArraySpec, NamedConfig, RegularChunking, RegularChunkingConfig)

    def run() -> None:
        stack = lazy_stack(job).transpose((2, 1, 0))
        group = MultiScaleGroup(
            Path(job.output),
            name="brain",
            voxel_size=(1.0, 1.0, 1.0),
            spatial_unit="micrometer",
            array_spec=_spec(stack, *parts),
        )
        group.add_full_res_data(stack, n_processes=job.threads)
        method = {"mean": np.mean, "max": np.max}[job.option]
        for level in range(1, job.levels):
            group.add_downsample_level(level, n_processes=job.threads, downsample_func=method)

    return run


def _spec(stack: Any, spec: Any, named: Any, chunking: Any, sizes: Any) -> Any:
    blosc = {
        "cname": "zstd",
        "clevel": LEVEL,
        "shuffle": "bitshuffle",
        "typesize": stack.dtype.itemsize,
        "blocksize": 0,
    }
    return spec(
        attributes={},
        shape=stack.shape,
        data_type=str(stack.dtype),
        chunk_grid=chunking(
            name="regular", configuration=sizes(chunk_shape=tuple(min(64, n) for n in stack.shape))
        ),
        chunk_key_encoding=named(name="default", configuration={"separator": "/"}),
        fill_value=0,
        codecs=[
            named(name="bytes", configuration={"endian": "little"}),
            named(name="blosc", configuration=blosc),
        ],
        storage_transformers=(),
        dimension_names=None,
    )


if __name__ == "__main__":
    timed(prepare, ("stack-to-chunk", "joblib"))
