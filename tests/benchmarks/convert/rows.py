"""The rows of the table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One way to convert the volume."""

    name: str
    script: str
    """Adapter in ``peers``."""
    peer: str = ""
    """Section of requirements.txt; empty for ourselves."""
    option: str = ""
    source: str = "none"
    """Compression of the slices."""
    codec: str = "speed"
    """Whose encoding the floor counts: "archive" is blosc-zstd 3, "speed" blosc-zstd 1."""
    levels: bool = True
    """False for level 0 alone."""
    of: str = ""
    """Row whose output this one reads; it converts nothing."""


OURS, OURS_SPEED = "neuroconn", "neuroconn, speed"

ROWS = [
    Row(OURS, "ours", codec="archive"),
    Row("neuroconn verify", "ours", option="verify", codec="archive", of=OURS),
    Row(OURS_SPEED, "ours", option="speed"),
    Row("acquire-zarr", "acquire", "acquire-zarr", "shard"),
    Row("acquire-zarr, chunk 128", "acquire", "acquire-zarr", "chunk"),
    Row("eubi-bridge, stride", "eubi", "eubi-bridge", "simple"),
    Row("eubi-bridge, max", "eubi", "eubi-bridge", "max"),
    Row("ome-zarr-py", "omezarr", "ome-zarr-py", "shard"),
    Row("ome-zarr-py, chunk 128", "omezarr", "ome-zarr-py", "chunk"),
    Row("ngff-zarr", "ngff", "ngff-zarr", "shard"),
    Row("ngff-zarr, chunk 128", "ngff", "ngff-zarr", "chunk"),
    Row("stack-to-chunk, mean", "stacktochunk", "stack-to-chunk", "mean"),
    Row("stack-to-chunk, max", "stacktochunk", "stack-to-chunk", "max"),
    Row("naive Dask", "naivedask", "dask", levels=False),
    Row("neuroconn, LZW source", "ours", source="lzw", codec="archive"),
    Row("neuroconn, zlib source", "ours", source="zlib", codec="archive"),
]

CLEVEL = {"archive": 3, "speed": 1}
"""Compression level of each codec; both blosc-zstd with byte shuffle, as neuroconn writes."""
