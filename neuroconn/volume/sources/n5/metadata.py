"""The attributes of an N5 container: what its arrays are, and how large a voxel is."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.base import check_numeric
from neuroconn.volume.sources.hdf5.file import one_line
from neuroconn.volume.sources.units import at_level, lengths_um, micrometres_per

MAX_BLOCK_BYTES = 4 * 2**30
MAX_BYTES = 2**60
MAX_GROUPS = 20_000
MAX_JSON_BYTES = 64 * 2**20
_DTYPES = {f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64)} | {
    "float32", "float64",
}  # fmt: skip
_CODECS = ("raw", "gzip", "bzip2", "xz", "blosc", "zstd")

_Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class N5Array:
    """How an N5 array is stored; axes in N5's order, the fastest first."""

    shape: tuple[int, ...]
    block: tuple[int, ...]
    dtype: np.dtype[Any]
    compression: dict[str, Any]
    axes: str
    """Names of the axes, xyz where the file names none."""

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of blocks along each axis."""
        return tuple(-(-n // b) for n, b in zip(self.shape, self.block, strict=True))

    def as_tensorstore(self) -> dict[str, Any]:
        """Return the metadata as TensorStore takes it, with nothing it could stumble over."""
        return {
            "dimensions": list(self.shape),
            "blockSize": list(self.block),
            "dataType": self.dtype.name,
            "compression": self.compression,
        }


def read_attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a group or array; none if the folder has no file of them.

    Raises
    ------
    VolumeError
        If the file is damaged.
    """
    path = folder / "attributes.json"
    if not path.is_file():
        return {}
    with one_line(str(path)):
        if path.stat().st_size > MAX_JSON_BYTES:
            raise VolumeError(f"{path} is larger than 64 MiB, too large for metadata")
        attributes = json.loads(path.read_bytes())
    if not isinstance(attributes, dict):
        raise VolumeError(f"{path} holds no attributes but {type(attributes).__name__}")
    return attributes


def parse_array(attributes: Mapping[str, Any], where: str) -> N5Array:
    """Check the attributes of an array.

    Raises
    ------
    VolumeError
        If they contradict each other, describe no array of numbers, or an impossible one.
    """
    shape = _counts(attributes.get("dimensions"), "dimensions", where)
    block = _counts(attributes.get("blockSize"), "blockSize", where)
    kind = attributes.get("dataType")
    if kind not in _DTYPES:
        raise VolumeError(f"{where} holds {kind!r}; a brain is made of integers or real numbers")
    dtype = check_numeric(np.dtype(str(kind)), where)
    if len(shape) != len(block):
        raise VolumeError(f"{where} has dimensions {shape} and blocks {block}; it is damaged")
    if math.prod(block) * dtype.itemsize > MAX_BLOCK_BYTES:
        raise VolumeError(f"{where} has blocks of {block}, more than 4 GiB each; it is damaged")
    if math.prod(shape) * dtype.itemsize > MAX_BYTES:
        raise VolumeError(f"{where} has shape {shape}, more than any disk holds; it is damaged")
    return N5Array(shape, block, dtype, _compression(attributes, where), _axes(attributes, shape))


def _counts(value: Any, key: str, where: str) -> tuple[int, ...]:
    whole = isinstance(value, list) and value and all(type(n) is int and n > 0 for n in value)
    if not whole or len(value) > 8:
        raise VolumeError(f"{where} has {key} {str(value)[:80]}; it is damaged. Copy it again")
    return tuple(value)


def _compression(attributes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the codec with what decoding needs; older files name it ``compressionType``."""
    stated = attributes.get("compression", attributes.get("compressionType"))
    options = stated if isinstance(stated, dict) else {"type": stated}
    codec = options.get("type")
    if codec not in _CODECS:
        raise VolumeError(
            f"{where} is compressed with {codec!r}, which is not read; save it with "
            f"{', '.join(_CODECS[:-1])} or {_CODECS[-1]}"
        )
    if codec == "gzip":
        return {"type": codec, "useZlib": options.get("useZlib") is True}
    if codec == "blosc":  # every block says itself what it needs
        return {"type": codec, "cname": "lz4", "clevel": 5, "shuffle": 1}
    return {"type": codec}


def _axes(attributes: Mapping[str, Any], shape: tuple[int, ...]) -> str:
    names = attributes.get("axes")
    if isinstance(names, list) and all(isinstance(n, str) and len(n) == 1 for n in names):
        letters = "".join(names).lower()
        if len(letters) == len(set(letters)) == len(shape) and set("xyz") <= set(letters):
            return letters
    return "xyz" if len(shape) == 3 else ""


def arrays_in(root: Path) -> Iterator[str]:
    """Yield the path of every array below a folder; the folder itself is ``""``.

    Raises
    ------
    VolumeError
        If there are too many groups to look at.
    """
    queue, seen = [""], 0
    while queue:
        name = queue.pop()
        if "dimensions" in read_attributes(root / name):
            yield name
            continue
        with one_line(str(root / name)), os.scandir(root / name) as entries:
            inner = sorted(
                entry.name
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
            )
        seen += len(inner)
        if seen > MAX_GROUPS:
            raise VolumeError(
                f"{root} holds more than {MAX_GROUPS} groups; name the array: --dataset NAME"
            )
        queue += [f"{name}/{entry}".removeprefix("/") for entry in reversed(inner)]


def voxel_frame(
    root: Path, name: str, axes: str
) -> tuple[_Triple | None, _Triple, tuple[str, ...]]:
    """Return spacing, origin and notes, from the attributes of an array or a group around it.

    Understood are ``pixelResolution`` and ``resolution`` with ``units`` of the tools around N5
    (x, y, z, at full resolution, times ``downsamplingFactors``), and COSEM's ``transform``.
    """
    parts = name.split("/") if name else []
    groups = ["/".join(parts[:k]) for k in range(len(parts), -1, -1)]
    found = [read_attributes(root / group) for group in groups]
    for attributes in found:
        if isinstance(attributes.get("transform"), dict):
            return _transform(attributes["transform"], axes)
        if "pixelResolution" in attributes or "resolution" in attributes:
            spacing, notes = _resolution(attributes)
            factors = downsampling(found, parts)
            return (*at_level(spacing, None, factors), notes)
    return None, (0.0, 0.0, 0.0), ()


def downsampling(found: Sequence[Mapping[str, Any]], parts: Sequence[str]) -> _Triple:
    """Return the downsampling of an array in (z, y, x): its own, or its level's in a group.

    Parameters
    ----------
    found : sequence of attributes
        Of the array, the group around it, and so on up to the root.
    parts : sequence of str
        The path of the array.
    """
    level = parts[-1][1:] if parts and parts[-1][:1] == "s" else ""
    for depth, attributes in enumerate(found):
        value = attributes.get("downsamplingFactors", attributes.get("scales"))
        if depth and isinstance(value, list) and level.isdigit() and int(level) < len(value):
            value = value[int(level)]
        factors = _numbers(value)
        if len(factors) == 3 and all(1 <= n < 1e6 for n in factors):
            return factors[2], factors[1], factors[0]
    return (1.0, 1.0, 1.0)


def _resolution(attributes: Mapping[str, Any]) -> tuple[_Triple | None, tuple[str, ...]]:
    stated = attributes.get("pixelResolution", attributes.get("resolution"))
    unit = attributes.get("units", attributes.get("unit"))
    if isinstance(stated, dict):
        unit, stated = stated.get("unit"), stated.get("dimensions")
    values = _numbers(stated)[::-1]
    units = list(reversed(unit)) if isinstance(unit, list) else [unit] * 3
    spacing = lengths_um(values, units)
    if spacing is None:
        shown = unit or "without a unit"
        return None, (f"the resolution {stated} {shown} is no length; give --spacing",)
    return spacing, ()


def _transform(
    transform: Mapping[str, Any], array_axes: str
) -> tuple[_Triple | None, _Triple, tuple[str, ...]]:
    """Read ``transform``; in C order its axes run against N5's."""
    axes = transform.get("axes")
    default = array_axes[::-1] if transform.get("ordering", "C") == "C" else array_axes
    names = [str(a).lower() for a in axes] if isinstance(axes, list) else list(default)
    scale, shift = (_numbers(transform.get(key)) for key in ("scale", "translate"))
    units = transform.get("units")
    units = units if isinstance(units, list) else []
    if sorted(names) != ["x", "y", "z"] or not len(scale) == len(units) == 3:
        return None, (0.0, 0.0, 0.0), ("its transform is not understood; give --spacing",)
    order = [names.index(a) for a in "zyx"]
    spacing = lengths_um([scale[k] for k in order], [units[k] for k in order])
    if spacing is None:
        return None, (0.0, 0.0, 0.0), (f"a scale of {scale} {units} is no length; give --spacing",)
    if len(shift) != 3 or not all(map(math.isfinite, shift)):
        return spacing, (0.0, 0.0, 0.0), ()
    z, y, x = (shift[k] * (micrometres_per(units[k]) or 1.0) for k in order)
    return spacing, (z, y, x), ()


def _numbers(value: Any) -> list[float]:
    if not isinstance(value, list) or not all(type(n) in (int, float) for n in value):
        return []
    return [float(n) for n in value]
