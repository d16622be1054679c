"""Settings of ``neuroconn convert``: what a brain looks like on disk."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from neuroconn.config.base import Settings

Side = Annotated[int, Field(ge=2, multiple_of=2)]
Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ConvertSettings(Settings):
    """How a source becomes a brain."""

    chunk: Side | tuple[Side, Side, Side] = 64
    """Readable unit in voxels: one side, or (z, y, x). Even, because pyramid levels halve."""
    shard: Side | tuple[Side, Side, Side] | None = None
    """Stored object in voxels, a multiple of the chunk; null takes 256, or less if the volume is
    smaller. Flatter shards need less memory, larger ones make fewer files."""
    zarr_format: Literal[3, 2] = 3
    """3 writes OME-Zarr 0.5, 2 writes 0.4: for older readers; many small files, no checksums."""
    compression: Literal["archive", "speed", "scratch"] = "archive"
    """blosc-zstd level 3, blosc-zstd level 1, or blosc-lz4; none loses anything."""
    downsample: Literal["max", "mean", "mode"] = "max"
    """How coarse levels are made: max keeps thin neurites bright, mean is for measuring, mode is
    for labels."""
    smallest: Annotated[int, Field(ge=2)] = 256
    """The pyramid ends when every side is at most this many voxels."""
    spacing: tuple[Length, Length, Length] | None = None
    """Voxel size in µm (z, y, x); null takes what the source says."""
    offset: int | None = None
    """Added to every voxel of an integer type that a brain cannot store; for int16, 32768 keeps
    everything."""
    value_range: tuple[float, float] | None = None
    """Values that become 0 and the largest stored value, linearly; what lies outside is clipped
    and counted."""
    dtype: Literal["uint8", "uint16"] | None = None
    """Stored type; null takes uint8 for a uint8 source, else uint16."""
    on_bad: Literal["fail", "fill"] = "fail"
    """Places of the source that cannot be read: name all of them and stop, or store zeros there
    and name them in the report and in the brain."""
