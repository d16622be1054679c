"""A folder with a Zarr in it: an OME-Zarr image, a container of some, or a plain array."""

from __future__ import annotations

from pathlib import Path

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.base import Choice
from neuroconn.volume.sources.stores.array import ZarrSource, open_zarr
from neuroconn.volume.sources.stores.nodes import Hierarchy
from neuroconn.volume.sources.stores.ome_image import content
from neuroconn.volume.sources.stores.place import LocalPlace

_DEEPEST = 3
"""Folders between an image and the array of one of its levels, at most."""


def open_brain_source(path: Path, choice: Choice) -> ZarrSource:
    """Open what a Zarr folder holds: new chunks, a new pyramid, another version.

    Parameters
    ----------
    path : path
        Root of an OME-Zarr 0.4 or 0.5 image or of a container of images, a Zarr group, or an
        array of version 2 or 3. The array of a level is opened as part of its image.
    choice : Choice
        ``dataset`` is a path inside it: a level, an image or an array.

    Raises
    ------
    VolumeError
        If it holds no volume, several, or one that cannot be read.
    UsageError
        If the chosen dataset or channel does not exist.
    """
    image = None if choice.dataset is not None else _image_above(path.absolute())
    if image is None:
        return open_zarr(LocalPlace(path), choice)
    inside = path.absolute().relative_to(image).as_posix()
    return open_zarr(LocalPlace(image), Choice(choice.channel, inside))


def _image_above(path: Path) -> Path | None:
    """Image that an array may be a level of: only the image knows its voxel size and its kind."""
    if (root := Hierarchy(LocalPlace(path)).node("")) is None or not root.is_array:
        return None
    for folder in list(path.parents)[:_DEEPEST]:
        try:
            above = Hierarchy(LocalPlace(folder)).node("")
        except VolumeError:  # someone else's files
            continue
        if above is not None and not above.is_array and content(above.attributes) == "image":
            return folder
    return None
