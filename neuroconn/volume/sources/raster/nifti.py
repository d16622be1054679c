"""NIfTI 1 and 2: one file, or a header and its image, gzipped or not."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.base import Choice
from neuroconn.volume.sources.raster.companions import readable, required
from neuroconn.volume.sources.raster.placement import Placement, placement
from neuroconn.volume.sources.raster.source import Layout, Plain, RasterSource, Stored
from neuroconn.volume.sources.raster.unpack import Packed

_UM = {1: 1e6, 2: 1e3, 3: 1.0}
"""Micrometres per unit of space, by the code in ``xyzt_units``."""

_RGB = {128: "RGB", 2304: "RGBA"}
_VECTORS = (1006, 1007)
"""Intents under which the fifth axis counts the components of a vector."""


class NiftiSource(RasterSource):
    """One channel of a NIfTI image."""

    format = "NIfTI"


def open_nifti(path: Path, choice: Choice) -> NiftiSource:
    """Open ``.nii``, ``.nii.gz``, or the ``.hdr`` of a pair of ``.hdr`` and ``.img``.

    Voxels keep their stored order and their stored values: (nx, ny, nz) becomes the shape
    (nz, ny, nx) whatever the affine says, and ``scl_slope`` and ``scl_inter`` are only noted.

    Raises
    ------
    VolumeError
        If the header is damaged, its sizes do not fit the file, or the image is coloured, complex
        or a time series.
    """
    with readable(path, "NIfTI"):
        header = _header(path)
        image, offset = _image(path, header)
        layout = _layout(header, path)
        stored: Stored = Plain((image,), offset)
        if _is_gzip(image):
            stored = Packed(image, "gzip", skip=offset)
        return NiftiSource(path, layout, stored, choice, _placement(header))


def _header(path: Path) -> Any:
    nibabel = required("nibabel", "nibabel", path)
    with gzip.open(path) if _is_gzip(path) else path.open("rb") as file:
        block = file.read(540)
    second = block[4:7] in (b"n+2", b"ni2")
    kind = nibabel.Nifti2Header if second else nibabel.Nifti1Header
    size: int = kind.sizeof_hdr
    if len(block) < size:
        raise VolumeError(f"{path} has {len(block)} bytes of a {size} byte header; copy it again")
    header = kind(block[:size], check=False)
    if header["sizeof_hdr"] != size or header["magic"].item()[:3] not in (
        (b"n+2", b"ni2") if second else (b"n+1", b"ni1")
    ):
        raise VolumeError(
            f"{path} is not NIfTI 1 or 2 (header size {header['sizeof_hdr']}, mark "
            f"{header['magic'].item()!r}): it is damaged. Copy it again"
        )
    return header


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _image(path: Path, header: Any) -> tuple[Path, int]:
    """Return the file with the voxels, and at which of its (unpacked) bytes they begin."""
    offset = float(header["vox_offset"])
    if not (offset >= 0 and offset.is_integer() and offset < 2**62):
        raise VolumeError(f"{path} puts its voxels at byte {offset}: it is damaged. Copy it again")
    if header["magic"].item()[:2] != b"ni":
        # Extensions of the header lie between it and the voxels; 0 stands for none.
        least = header.single_vox_offset
        if 0 < offset < least:
            raise VolumeError(
                f"{path} puts its voxels at byte {offset:.0f}, inside its {least} byte header: "
                "it is damaged. Copy it again"
            )
        return path, int(offset) or least
    stem = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    names = [stem.with_suffix(suffix) for suffix in (".img", ".IMG", ".img.gz")]
    image = next((name for name in names if name.is_file()), None)
    if image is None:
        raise VolumeError(
            f"{path} is the header of an image and there is no {names[0].name} beside it; copy both"
        )
    return image, int(offset)


def _layout(header: Any, path: Path) -> Layout:
    axes, *dims = (int(n) for n in header["dim"])
    code = int(header["datatype"])
    if not 3 <= axes <= 7:
        raise VolumeError(f"{path} has {axes} axes; a brain is one grey (z, y, x) volume")
    if code in _RGB:
        raise VolumeError(
            f"{path} is a colour image ({_RGB[code]}); a brain is one grey channel. "
            "Save the channel with the neurites"
        )
    x, y, z, times, channels, *rest = (*dims[:axes], *([1] * (7 - axes)))
    if times != 1:
        raise VolumeError(f"{path} is a time series of {times} frames; save the one to convert")
    if rest != [1, 1] or (channels != 1 and int(header["intent_code"]) not in _VECTORS):
        raise VolumeError(
            f"{path} has shape {tuple(dims[:axes])} and does not say what its last axes are; "
            "save one (x, y, z) volume"
        )
    dtype = np.dtype(header.get_data_dtype())
    if int(header["bitpix"]) != 8 * dtype.itemsize:
        raise VolumeError(
            f"{path} declares {header['bitpix']} bits for {dtype} voxels: its header is damaged. "
            "Export it again"
        )
    if channels == 1:
        return Layout((z, y, x), dtype)
    return Layout((channels, z, y, x), dtype, 0)


def _placement(header: Any) -> Placement:
    affine = header.get_sform(coded=True)[0]
    if affine is None:
        affine = header.get_qform(coded=True)[0]
    sizes = np.asarray(header["pixdim"][1:4], np.float64)
    if affine is None:
        affine = np.diag([*sizes, 1.0])
    steps = np.asarray(affine, np.float64)[:3, :3].T
    um = _UM.get(int(header["xyzt_units"]) % 8)
    if header["pixdim"].dtype.itemsize == 4:
        steps = _decimal(steps)
    placed = placement(steps, affine[:3, 3], [um] * 3, "without a unit")
    notes = (*placed.notes, *_disagreement(sizes, steps), *_scaling(header))
    return Placement(placed.spacing_um, placed.origin_um, notes)


def _decimal(steps: Any) -> Any:
    """Undo float32: 0.6 is stored as 0.60000002384 and was meant as 0.6."""
    lengths = np.linalg.norm(steps, axis=1)
    meant = np.array([float(f"{length:.6g}") for length in lengths])
    return steps * np.divide(meant, lengths, out=np.ones(3), where=lengths > 0)[:, None]


def _disagreement(sizes: Any, steps: Any) -> list[str]:
    lengths = np.linalg.norm(steps, axis=1)
    if np.allclose(sizes, lengths, rtol=0.01):
        return []
    listed = [", ".join(f"{v:.6g}" for v in values[::-1]) for values in (sizes, lengths)]
    return [f"pixdim (z, y, x) is ({listed[0]}), the affine says ({listed[1]}): the affine is kept"]


def _scaling(header: Any) -> list[str]:
    # Scaled values would be float32, and what is black and white among them a guess: a brain keeps
    # what was recorded, and a linear scale is lost on the normalisation anyway.
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope) or (slope, inter) == (1, 0):
        return []
    return [
        f"values stand for {slope:g} * value + {inter:g} (scl_slope, scl_inter): kept as stored"
    ]
