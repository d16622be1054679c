"""What a brain is converted from: told apart by content, read a box at a time."""

from __future__ import annotations

from pathlib import Path

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.base import Identity, Source
from neuroconn.volume.sources.brain import open_brain_source
from neuroconn.volume.sources.tiff import open_tiff_slices, open_tiff_stack

__all__ = ["Identity", "Source", "open_source"]

_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_ZARR = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
_OTHERS = {
    b"\x89HDF\r\n\x1a\n": "HDF5 (Imaris, BigDataViewer)",
    b"raw_image_stack_by_hpeng": "Vaa3D raw (v3draw)",
    b"v3d_volume_pkbitdf_encod": "Vaa3D packed (v3dpbd)",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
}


def open_source(path: str | Path) -> Source:
    """Open a volume for conversion; what it is follows from its content, not from its name.

    Parameters
    ----------
    path : path
        A TIFF, BigTIFF, OME-TIFF or ImageJ file; a folder of TIFF slices; or an OME-Zarr image.

    Returns
    -------
    Source
        Checked as far as metadata goes; no voxel has been decoded.

    Raises
    ------
    VolumeError
        One line that says what is wrong with the volume.
    """
    path = Path(path)
    if not path.exists():
        raise VolumeError(f"no source at {path}; check the path")
    if path.is_file():
        return _open_file(path)
    if any((path / name).is_file() for name in _ZARR):
        return open_brain_source(path)
    return _open_folder(path)


def _open_file(path: Path) -> Source:
    head = _head(path)
    if not head:
        raise VolumeError(f"{path} is empty; copy it again")
    if head.startswith(_TIFF):
        return open_tiff_stack(path)
    known = next((name for magic, name in _OTHERS.items() if head.startswith(magic)), None)
    if known:
        raise VolumeError(f"{path} is {known}, which is not read yet; export it as TIFF")
    raise VolumeError(f"{path} is not a TIFF file (it starts with {head[:8]!r})")


def _open_folder(path: Path) -> Source:
    files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    if not files:
        raise VolumeError(f"{path} holds no files; name the folder with the slices itself")
    heads = {file: _head(file) for file in files}
    for file, head in heads.items():
        if file.suffix.lower() in (".tif", ".tiff") and not head.startswith(_TIFF):
            state = "empty" if not head else f"not a TIFF file (it starts with {head[:8]!r})"
            raise VolumeError(f"{file} is {state}; copy it again or move it away")
    slices = [file for file, head in heads.items() if head.startswith(_TIFF)]
    if not slices:
        raise VolumeError(f"{path} holds {len(files)} files and no TIFF slice among them")
    return open_tiff_stack(slices[0]) if len(slices) == 1 else open_tiff_slices(path, slices)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(24)
    except OSError as error:
        raise VolumeError(f"{path} cannot be read: {error.strerror}") from error
