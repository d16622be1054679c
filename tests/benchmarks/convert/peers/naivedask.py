"""Dask as one would write it first: a task a slice, stack, rechunk to shards, store. One level."""

from __future__ import annotations

from collections.abc import Callable

from job import LEVEL, Job, lazy_stack, timed, two_threads


def prepare(job: Job) -> Callable[[], None]:
    import dask.array as da
    import zarr

    two_threads(job)

    def run() -> None:
        stack = lazy_stack(job)
        shard = tuple(min(256, -(-n // 64) * 64) for n in stack.shape)
        array = zarr.create_array(
            job.output,
            shape=stack.shape,
            dtype=stack.dtype,
            chunks=(64, 64, 64),
            shards=shard,
            compressors=zarr.codecs.BloscCodec(
                typesize=stack.dtype.itemsize, cname="zstd", clevel=LEVEL, shuffle="bitshuffle"
            ),
            dimension_names=("z", "y", "x"),
        )
        da.store(stack.rechunk(shard), array, lock=False)

    return run


if __name__ == "__main__":
    timed(prepare, ())
