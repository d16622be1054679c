"""acquire-zarr: one sequential stream of frames; ``option`` is "shard" or "chunk"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from job import LEVEL, Job, timed

BITSHUFFLE = 2


def prepare(job: Job) -> Callable[[], None]:
    import acquire_zarr as aqz
    import tifffile

    def run() -> None:
        first = tifffile.imread(job.files[0])
        stream = aqz.ZarrStream(_settings(aqz, job, (len(job.files), *first.shape)))
        for file in job.files:
            stream.append(tifffile.imread(file))
        stream.close()

    return run


def _settings(aqz: Any, job: Job, shape: tuple[int, ...]) -> Any:
    chunk, chunks_a_shard = (64, 4) if job.option == "shard" else (128, 1)
    dimensions = [
        aqz.Dimension(
            name=name,
            kind=aqz.DimensionType.SPACE,
            array_size_px=size,
            chunk_size_px=min(chunk, size),
            shard_size_chunks=max(1, min(chunks_a_shard, -(-size // chunk))),
            unit="micrometer",
            scale=1.0,
        )
        for name, size in zip("zyx", shape, strict=True)
    ]
    array = aqz.ArraySettings(
        output_key="",
        data_type=aqz.DataType.UINT16,
        dimensions=dimensions,
        compression=aqz.CompressionSettings(
            compressor=aqz.Compressor.BLOSC1,
            codec=aqz.CompressionCodec.BLOSC_ZSTD,
            level=LEVEL,
            shuffle=BITSHUFFLE,
        ),
        downsampling_method=aqz.DownsamplingMethod.MAX,
        max_levels=job.levels - 1,
    )
    return aqz.StreamSettings(
        store_path=job.output,
        version=aqz.ZarrVersion.V3,
        max_threads=job.threads,
        arrays=[array],
        overwrite=False,
    )


if __name__ == "__main__":
    timed(prepare, ("acquire-zarr",))
