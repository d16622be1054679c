"""ome-zarr-py: one Dask graph of everything; ``option`` is "shard" or "chunk"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from job import LEVEL, Job, lazy_stack, timed, two_threads


def prepare(job: Job) -> Callable[[], None]:
    import zarr
    from ome_zarr.scale import Methods
    from ome_zarr.writer import write_image

    two_threads(job)
    codec = zarr.codecs.BloscCodec(typesize=2, cname="zstd", clevel=LEVEL, shuffle="bitshuffle")

    def run() -> None:
        stack = lazy_stack(job)
        options: dict[str, Any] = {"chunks": (128, 128, 128), "compressors": [codec]}
        unit = (128, 128, 128)
        if job.option == "shard":
            unit = tuple(min(256, -(-n // 64) * 64) for n in stack.shape)  # type: ignore[assignment]
            options = {"chunks": (64, 64, 64), "shards": unit, "compressors": [codec]}
        write_image(
            stack.rechunk(unit),
            job.output,
            scale_factors=[dict.fromkeys("zyx", f) for f in job.factors],
            method=Methods.LOCAL_MEAN,
            axes="zyx",
            storage_options=options,
            scale=dict.fromkeys("zyx", 1.0),
            axes_units=dict.fromkeys("zyx", "micrometer"),
        )

    return run


if __name__ == "__main__":
    timed(prepare, ("ome-zarr",))
