"""Voxel size from coordinate arrays beside a volume, as xarray writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from neuroconn.geometry import Frame
from neuroconn.volume.ome import AXES
from neuroconn.volume.sources.stores.nodes import Hierarchy, Node, join
from neuroconn.volume.sources.units import micrometres_per

LONGEST = 1 << 20
"""Coordinates that are read."""


def coordinates_frame(
    hierarchy: Hierarchy, volume: Node, axes: tuple[str, ...]
) -> tuple[Frame | None, tuple[str, ...]]:
    """Read the frame that coordinate arrays of the same group give a volume.

    Parameters
    ----------
    hierarchy : Hierarchy
        Where both lie.
    volume : Node
        An array with dimension names.
    axes : tuple of str
        What its axes are.

    Returns
    -------
    frame : Frame or None
        None unless z, y and x each have evenly spaced, rising coordinates in a known length unit.
    notes : tuple of str
        Why coordinates that are there could not be used.
    """
    names = volume.dimension_names
    if names is None or not volume.path:
        return None, ()
    group = volume.path.rpartition("/")[0]
    where, found = hierarchy.address(volume.path), {}
    for axis, name in zip(axes, names, strict=False):
        if axis in AXES and isinstance(name, str) and name.isidentifier():
            node = hierarchy.node(join(group, name))
            if node is not None and node.is_array and node.path != volume.path:
                found[axis] = node
    if set(found) != set(AXES):
        return None, ()
    steps = {}
    for axis, node in found.items():
        try:
            steps[axis] = _step(hierarchy, node)
        except Exception as error:  # coordinates may be as damaged as anything
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            return None, (f"{where}: the {axis} coordinates give no voxel size: {reason}",)
    origins, spacings = zip(*(steps[axis] for axis in AXES), strict=True)
    return Frame(spacings, origins), ()


def _step(hierarchy: Hierarchy, node: Node) -> tuple[float, float]:
    """First coordinate and distance to the next, in micrometres."""
    unit = node.attributes.get("units")
    factor = micrometres_per(unit)
    if factor is None:
        raise ValueError(f"their unit {unit!r} is not a known length")
    shape = node.document.get("shape")
    if not isinstance(shape, list) or len(shape) != 1 or not 2 <= shape[0] <= LONGEST:
        raise ValueError(f"their shape is {shape}")
    values = _values(hierarchy, node)
    step = (float(values[-1]) - float(values[0])) / (len(values) - 1)
    if not (np.isfinite(step) and step > 0 and np.allclose(np.diff(values), step, rtol=1e-3)):
        raise ValueError("they are not evenly spaced and rising")
    return float(values[0]) * factor, step * factor


def _values(hierarchy: Hierarchy, node: Node) -> NDArray[np.float64]:
    if any("pickle" in name.lower() for name in node.codecs):
        raise ValueError("they are Python objects")
    array: zarr.Array[Any] = zarr.open_array(
        hierarchy.place.store,
        path=node.path,
        mode="r",
        zarr_format=3 if node.zarr_format == 3 else 2,
    )
    if array.dtype.kind not in "uif" or array.chunks[0] > 2 * LONGEST:
        raise ValueError(f"they are {array.dtype} in chunks of {array.chunks[0]}")
    return np.asarray(array[:], dtype=np.float64)
