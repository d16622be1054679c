"""Seeds from files: what was marked or traced elsewhere, laid over the brain that is walked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import ApoBase
from neuroconn.errors import UsageError
from neuroconn.geometry import Frame
from neuroconn.inference.seeds.checks import inside, likely_mistake
from neuroconn.vaa3d.exported import export_around, frame_of_export
from neuroconn.volume.store import Image


@dataclass(frozen=True, slots=True)
class SeedFile:
    """A file of seeds, and how it counts."""

    path: Path
    """``.swc``, ``.eswc``, ``.ano``, ``.marker``, ``.apo`` or ``.csv``."""
    units: Literal["voxel", "um"] = "voxel"
    export: Path | None = None
    """The tree or crop that was open in Vaa3D, the voxels of which are counted; None for the brain
    itself, or for the export of ours that the file lies in or is named after."""
    apo_base: ApoBase = 0
    """What an ``.apo`` calls the first voxel."""


def read_seed_file(file: SeedFile, image: Image) -> tuple[NDArray[np.float64], list[str]]:
    """Read the seeds of a file.

    A tracing may leave a cropped brain: of its nodes those outside are left out with a warning.

    Returns
    -------
    (voxels, warnings)
        (n, 3) voxels of level 0, all inside, and lines for the user.

    Raises
    ------
    AnnotationError
        If the file is missing or broken.
    UsageError
        If a point, or every node of a tracing, lies outside the volume; or if the export does not
        say where it lies.
    """
    from neuroconn.annotation.points import read_marks_and_nodes

    export, warnings = _export(file, image)
    marks, nodes = (
        _placed(points, file, image, export)
        for points in read_marks_and_nodes(file.path, apo_base=file.apo_base)
    )
    if not len(marks) + len(nodes):
        raise UsageError(f"{file.path} holds no points: the walk needs at least one seed")
    kept = nodes[inside(nodes, image.shape)]
    hint = None if export is None else _of_export(export[0])
    _require_inside(marks, file, image, hint)
    if not len(kept):
        _require_inside(nodes, file, image, hint)
    lost = len(nodes) - len(kept)
    if lost:
        warnings.append(
            f"{file.path}: {lost} of {len(nodes)} nodes lie outside the volume of shape "
            f"{image.shape} and are no seeds; check units and brain if that is unexpected"
        )
    return np.concatenate([marks, kept]), warnings


def require_inside(
    voxels: NDArray[np.float64],
    image: Image,
    source: str,
    *,
    in_um: bool = False,
    hint: str | None = None,
) -> None:
    """Refuse seeds that lie in no voxel of a brain.

    Raises
    ------
    UsageError
        Naming how many, the first of them, the shape, and the likely mistake or the ``hint``.
    """
    outside = voxels[~inside(voxels, image.shape)]
    if not len(outside):
        return
    z, y, x = outside[0]
    more = f", and {len(outside) - 1} more of {len(voxels)}" if len(outside) > 1 else ""
    mistake = hint or likely_mistake(
        voxels,
        image.shape,
        image.frame if image.spacing_known else None,
        in_um=in_um,
        suffix=Path(source).suffix.lower(),
    )
    raise UsageError(
        f"{source}: seed ({z:g}, {y:g}, {x:g}) lies outside the volume of shape {image.shape} "
        f"(z, y, x, voxels of level 0){more}. {mistake}"
    )


def _require_inside(
    voxels: NDArray[np.float64], file: SeedFile, image: Image, hint: str | None
) -> None:
    require_inside(voxels, image, str(file.path), in_um=file.units == "um", hint=hint)


def _export(file: SeedFile, image: Image) -> tuple[tuple[Path, Frame] | None, list[str]]:
    """Find whose voxels are counted: None for those of the brain."""
    if file.export is not None:
        if file.units == "um":
            raise UsageError(
                "seeds count either µm or the voxels of an export: leave out the units, or the "
                "export"
            )
        if _same_path(file.export, image):
            return None, []
        return (file.export, frame_of_export(file.export)), []
    found = export_around(file.path) if file.units == "voxel" else None
    if found is None:
        return None, []
    frame = frame_of_export(found)
    if _same(frame, image.frame):
        return None, []
    begin = image.frame.to_voxels([frame.origin_um])[0]
    size = np.divide(frame.spacing_um, image.frame.spacing_um)
    each = "" if np.allclose(size, 1) else f", and one of which is {_triple(size)} of the brain's"
    return (found, frame), [
        f"{file.path} is taken to count the voxels of {found}, which begins at {_triple(begin)} in "
        f"the brain{each}; if it counts those of the brain, say --seeds-in {image.path}"
    ]


def _placed(
    points: NDArray[np.float64], file: SeedFile, image: Image, export: tuple[Path, Frame] | None
) -> NDArray[np.float64]:
    if export is not None:
        return image.frame.to_voxels(export[1].to_um(points))
    return image.frame.to_voxels(points) if file.units == "um" else points


def _of_export(export: Path) -> str:
    return (
        f"They were read as voxels of {export}: is that what they were marked in, and was it made "
        "from this brain?"
    )


def _triple(values: NDArray[np.float64]) -> str:
    return f"({', '.join(f'{v:.6g}' for v in values)})"


def _same_path(export: Path, image: Image) -> bool:
    return export.absolute() == Path(str(image.path)).absolute()


def _same(a: Frame, b: Frame) -> bool:
    return np.allclose([*a.spacing_um], [*b.spacing_um], rtol=1e-6) and bool(
        np.allclose(
            np.divide(a.origin_um, a.spacing_um), np.divide(b.origin_um, a.spacing_um), atol=1e-3
        )
    )
