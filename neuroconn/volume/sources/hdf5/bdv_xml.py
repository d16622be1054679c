"""What BigDataViewer's XML says: where the voxels are, what views there are, how large they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX
from neuroconn.volume.sources.hdf5.file import one_line
from neuroconn.volume.sources.units import lengths_um, micrometres_per

MAX_XML_BYTES = 256 * 2**20
_CONTAINERS = {"bdv.hdf5": "hdf5", "bdv.n5": "n5"}
_UNFUSED = ("tile", "angle", "illumination")


@dataclass(frozen=True, slots=True)
class ViewSetup:
    """One channel, tile, angle and illumination of a data set."""

    number: int
    name: str
    shape: ZYX | None
    voxel: tuple[float, ...]
    """Voxel size as written, in (z, y, x)."""
    unit: str
    attributes: Mapping[str, str]
    """Channel, tile, angle, ... of this view."""

    @property
    def spacing_um(self) -> tuple[float, float, float] | None:
        """Voxel size in µm; None if it is not usable."""
        return lengths_um(self.voxel, [self.unit] * 3)


@dataclass(frozen=True, slots=True)
class SpimData:
    """A data set as its XML describes it."""

    format: str
    """bdv.hdf5 or bdv.n5."""
    container: Path
    times: tuple[int, ...]
    setups: tuple[ViewSetup, ...]
    affines: Mapping[tuple[int, int], NDArray[np.float64]] = field(repr=False)
    """Voxels (x, y, z, 1) to the world, by time point and setup."""

    def setup(self, number: int, where: str) -> ViewSetup:
        """Return the view setup with a number."""
        for setup in self.setups:
            if setup.number == number:
                return setup
        raise VolumeError(f"{where} describes no view setup {number}")

    def origin_um(self, time: int, setup: ViewSetup) -> tuple[float, float, float] | None:
        """Return the centre of the first voxel, if the registration does no more than place it."""
        affine, factor = self.affines.get((time, setup.number)), micrometres_per(setup.unit)
        if affine is None or factor is None or len(setup.voxel) != 3:
            return None
        if not np.allclose(affine[:, :3], np.diag(setup.voxel[::-1]), rtol=1e-5):
            return None
        x, y, z = (float(v) * factor for v in affine[:, 3])
        return (z, y, x) if all(map(math.isfinite, (z, y, x))) else None

    def notes(self, time: int, setup: ViewSetup) -> tuple[str, ...]:
        """Return what a user should know about a view, one line each."""
        lines = []
        if setup.spacing_um is None:
            lines.append(
                f"the voxel size {setup.voxel} {setup.unit!r} is no length; give --spacing"
            )
        for kind in _UNFUSED:
            count = len({s.attributes.get(kind) for s in self.setups})
            if count > 1:
                lines.append(f"this view is one of {count} {kind}s, which are not fused")
        if (time, setup.number) in self.affines and self.origin_um(time, setup) is None:
            lines.append("the registration of this view is not applied")
        return tuple(lines)


def read_spimdata(path: Path) -> SpimData:
    """Read BigDataViewer's XML.

    Raises
    ------
    VolumeError
        If it is damaged, or its container is not HDF5 or N5 beside it.
    """
    with one_line(str(path)):
        if path.stat().st_size > MAX_XML_BYTES:
            raise VolumeError(f"{path} is larger than 256 MiB, too large for metadata")
        content = path.read_bytes()
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            raise VolumeError(f"{path} defines XML entities, which BigDataViewer does not")
        root = ElementTree.fromstring(content)
        sequence = _child(root, "SequenceDescription", path)
        loader = _child(sequence, "ImageLoader", path)
        kind = loader.get("format", "")
        if kind not in _CONTAINERS:
            raise VolumeError(
                f"{path} stores its voxels as {kind or 'nothing known'}; read are "
                f"{' and '.join(_CONTAINERS)}. Resave it with BigStitcher or BigDataViewer"
            )
        setups = [_setup(e, path) for e in _child(sequence, "ViewSetups", path).iter("ViewSetup")]
        if not setups or len({s.number for s in setups}) != len(setups):
            raise VolumeError(f"{path} lists {len(setups)} view setups, or one of them twice")
        return SpimData(
            format=kind,
            container=_container(path, root, _child(loader, _CONTAINERS[kind], path)),
            times=_times(sequence.find("Timepoints"), path),
            setups=tuple(sorted(setups, key=lambda s: s.number)),
            affines=_affines(root),
        )


def _child(element: ElementTree.Element, name: str, path: Path) -> ElementTree.Element:
    child = element.find(name)
    if child is None:
        raise VolumeError(f"{path} has no {name}; it is not an XML of BigDataViewer, or incomplete")
    return child


def _container(path: Path, root: ElementTree.Element, named: ElementTree.Element) -> Path:
    """Return where the voxels are, which has to be beside the XML or below it."""
    base = root.find("BasePath")
    parts = [named] if base is None else [base, named]
    folder = path.parent
    for part in parts:
        text = (part.text or "").strip()
        steps = [*PurePosixPath(text).parts, *PureWindowsPath(text).parts]
        absolute = part.get("type", "relative") != "relative" or PureWindowsPath(text).anchor
        if absolute or text.startswith("/") or ".." in steps or "\0" in text:
            raise VolumeError(
                f"{path} names {text!r}, outside its own folder, and is not followed there; "
                "put the XML beside its data, or name the .h5 or .n5 itself"
            )
        folder = folder / text
    if not folder.resolve().is_relative_to(path.parent.resolve()):
        raise VolumeError(f"{path} leads to {folder.resolve()}, outside its own folder")
    if not folder.exists():
        raise VolumeError(f"{path} names {folder}, which does not exist; copy it beside the XML")
    return folder


def _setup(element: ElementTree.Element, path: Path) -> ViewSetup:
    number = int(_child(element, "id", path).text or "")
    size = _numbers(element.findtext("size"))
    voxel = _numbers(element.findtext("voxelSize/size"))
    attributes = element.find("attributes")
    return ViewSetup(
        number=number,
        name=(element.findtext("name") or f"setup {number}").strip(),
        shape=_whole(size),
        voxel=tuple(reversed(voxel)),
        unit=(element.findtext("voxelSize/unit") or "").strip(),
        attributes={
            e.tag: (e.text or "").strip() for e in (() if attributes is None else attributes)
        },
    )


def _numbers(text: str | None) -> list[float]:
    try:
        return [float(word) for word in (text or "").split()]
    except ValueError:
        return []


def _whole(size: Sequence[float]) -> ZYX | None:
    if len(size) != 3 or not all(math.isfinite(n) and n == int(n) for n in size):
        return None
    return int(size[2]), int(size[1]), int(size[0])


def _times(element: ElementTree.Element | None, path: Path) -> tuple[int, ...]:
    """Return the time points: a range, a pattern such as ``0-3, 7``, or nothing, which is one."""
    if element is None:
        return (0,)
    if element.get("type") == "range":
        spans = [(element.findtext("first") or "0", element.findtext("last") or "0")]
    else:
        pattern = element.findtext("integerpattern") or "0"
        words = [word.strip().partition("-") for word in pattern.split(",") if word.strip()]
        spans = [(first, last.partition(":")[0] or first) for first, _, last in words]
    ends = [(int(first), int(last)) for first, last in spans]
    if any(not 0 <= a <= b < 10_000_000 for a, b in ends):
        raise VolumeError(f"{path} lists impossible time points {ends}")
    return tuple(sorted({t for a, b in ends for t in range(a, b + 1)})) or (0,)


def _affines(root: ElementTree.Element) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Return the product of each view's transforms; the first one listed is applied last."""
    found: dict[tuple[int, int], NDArray[np.float64]] = {}
    for view in root.iter("ViewRegistration"):
        key = (int(view.get("timepoint", 0)), int(view.get("setup", 0)))
        total: NDArray[Any] = np.eye(4)
        for transform in view.iter("ViewTransform"):
            values = _numbers(transform.findtext("affine"))
            if len(values) == 12:
                total = total @ np.vstack([np.reshape(values, (3, 4)), [0, 0, 0, 1]])
            else:
                total = np.full((4, 4), np.nan)
        found[key] = total[:3]
    return found
