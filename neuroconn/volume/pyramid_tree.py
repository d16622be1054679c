"""All levels of an image as one tree, named as spatialdata names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from neuroconn.volume.address import Address
from neuroconn.volume.open import Chunks, level_array
from neuroconn.volume.store import open_image


def open_pyramid(path: str | Path, *, chunks: Chunks = "shard") -> xr.DataTree:
    """Open every level of an image lazily, with coordinates in micrometres.

    The same position has the same coordinate on every level, so that a slab found on a coarse
    level can be cut from a fine one: ``tree["scale0/image"].sel(z=slice(100, 140))``.

    Parameters
    ----------
    path : path
        An OME-Zarr 0.4 or 0.5 image: a brain or a distance map.
    chunks : {"shard", "inner"}
        Dask blocks, as in :func:`neuroconn.open_volume`.

    Returns
    -------
    xarray.DataTree
        Nodes ``scale0`` (full resolution), ``scale1``, ...; each holds the variable ``image``
        of a brain or ``distance`` of a distance map, which is what :func:`neuroconn.open_volume`
        gives for that level. The root has no variables; its attribute ``ome`` is the OME-Zarr
        metadata as stored.

    Raises
    ------
    VolumeError
        If there is no such image.
    """
    image = open_image(path)
    nodes = {"/": xr.Dataset(attrs=_root_attributes(image.path, image.kind, image.ome))}
    for level in range(len(image.levels)):
        nodes[f"/scale{level}"] = level_array(image, level, chunks).to_dataset()
    return xr.DataTree.from_dict(nodes, name=image.path.name)


def _root_attributes(path: Address, kind: str, ome: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "source": str(path), "ome": ome}
