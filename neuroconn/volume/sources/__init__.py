"""What a brain is converted from: told apart by content, read a box at a time."""

from __future__ import annotations

from pathlib import Path

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.base import Choice, Identity, Source
from neuroconn.volume.sources.mapping import MappedSource, Mapping
from neuroconn.volume.sources.recognise import open_by_content, open_by_url

__all__ = ["Choice", "Identity", "MappedSource", "Mapping", "Source", "open_source"]


def open_source(
    path: str | Path, *, channel: int | None = None, dataset: str | None = None
) -> Source:
    """Open a volume for conversion; what it is follows from its content, not from its name.

    Parameters
    ----------
    path : path or URL
        A file or folder of any format in ``docs/formats.md``; ``s3://`` and ``http(s)://`` for
        Zarr.
    channel : int, optional
        Which of several channels, counted from 0.
    dataset : str, optional
        Which of several arrays in a container.

    Returns
    -------
    Source
        Checked as far as metadata goes; no voxel has been decoded.

    Raises
    ------
    VolumeError
        One line that says what is wrong with the volume.
    UsageError
        If the channel or the array does not exist.
    """
    choice = Choice(channel, dataset)
    if "://" in str(path):
        return open_by_url(str(path), choice)
    path = Path(path)
    if not path.exists():
        raise VolumeError(f"no source at {path}; check the path")
    return open_by_content(path, choice)
