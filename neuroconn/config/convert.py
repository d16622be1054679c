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
    downsample: Literal["max", "mean"] = "max"
    """How coarse levels are made: max keeps thin neurites bright, mean is for measuring."""
    smallest: Annotated[int, Field(ge=2)] = 256
    """The pyramid ends when every side is at most this many voxels."""
    spacing: tuple[Length, Length, Length] | None = None
    """Voxel size in µm (z, y, x); null takes what the source says."""
