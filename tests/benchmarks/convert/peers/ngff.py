"""ngff-zarr: lazy stack, dask bin-shrink, version 0.5; ``option`` is "shard" or "chunk"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from job import LEVEL, Job, lazy_stack, timed


def prepare(job: Job) -> Callable[[], None]:
    import dask
    import ngff_zarr
    from numcodecs import Blosc

    dask.config.set(scheduler="threads", num_workers=job.threads)
    codec = Blosc(cname="zstd", clevel=LEVEL, shuffle=Blosc.BITSHUFFLE)

    def run() -> None:
        chunk, layout = 128, {}
        if job.option == "shard":
            chunk, layout = 64, {"chunks_per_shard": 4}
        image = ngff_zarr.to_ngff_image(
            lazy_stack(job),
            dims=["z", "y", "x"],
            scale=dict.fromkeys("zyx", 1.0),
            axes_units=dict.fromkeys("zyx", "micrometer"),
        )
        multiscales = ngff_zarr.to_multiscales(
            image,
            scale_factors=job.factors,
            method=ngff_zarr.Methods.DASK_BIN_SHRINK,
            chunks=chunk,
        )
        options: dict[str, Any] = {"compressors": [codec], **layout}
        ngff_zarr.to_ngff_zarr(job.output, multiscales, version="0.5", overwrite=False, **options)

    return run


if __name__ == "__main__":
    timed(prepare, ("ngff-zarr", "zarrista"))
