"""Which format a file or a folder is, from what it holds."""

from __future__ import annotations

import gzip
import importlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from neuroconn.errors import UsageError, VolumeError
from neuroconn.volume.sources.base import Choice, Source

HEAD = 512
"""Bytes that tell any supported format."""

_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_ZARR = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
_GZIP = b"\x1f\x8b"
_FOREIGN = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"ZISRAWFILE": "Zeiss CZI",
    b"\xda\xce\xbe\x0a": "Nikon ND2",
    b"\x70\x00\x00\x00": "Leica LIF",
}


@dataclass(frozen=True, slots=True)
class _FileFormat:
    """How files of a format begin, and the function that opens them."""

    opener: str
    """``module:function`` under ``neuroconn.volume.sources``: formats are imported when met."""
    begins: Callable[[bytes], bool]
    container: bool = False
    """Whether it may hold several arrays."""

    def open(self, path: Path, choice: Choice) -> Source:
        if choice.dataset is not None and not self.container:
            raise UsageError(f"{path} holds one array; leave out --dataset {choice.dataset}")
        return _opener(self.opener)(path, choice)


def _magic(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics)


def _is_nifti(head: bytes) -> bool:
    return head[344:348] in (b"n+1\x00", b"ni1\x00") or head[4:8] in (b"n+2\x00", b"ni2\x00")


def _is_metaimage(head: bytes) -> bool:
    keys = [line.partition(b"=")[0].strip() for line in head.splitlines()]
    return bool({b"NDims", b"ObjectType"} & set(keys[:4]))


_FILES = (
    _FileFormat("tiff.source:open_tiff_stack", _magic(*_TIFF), container=True),
    _FileFormat("hdf5.recognise:open_hdf5", _magic(b"\x89HDF\r\n\x1a\n"), container=True),
    _FileFormat("vaa3d.raw:open_v3draw_source", _magic(b"raw_image_stack_by_hpeng")),
    _FileFormat("vaa3d.raw:open_v3dpbd_source", _magic(b"v3d_volume_pkbitdf_encod")),
    _FileFormat("arrays.numpy_files:open_npy", _magic(b"\x93NUMPY")),
    _FileFormat("arrays.numpy_files:open_npz", _magic(b"PK\x03\x04"), container=True),
    _FileFormat("raster.nrrd:open_nrrd", _magic(b"NRRD000")),
    _FileFormat("raster.nifti:open_nifti", _is_nifti),
    _FileFormat("raster.metaimage:open_metaimage", _is_metaimage),
    _FileFormat("hdf5.bdv:open_bdv_xml", lambda head: b"<SpimData" in head, container=True),
)


def open_by_content(path: Path, choice: Choice) -> Source:
    """Open what is at a path."""
    return _open_folder(path, choice) if path.is_dir() else _open_file(path, choice)


def open_by_url(url: str, choice: Choice) -> Source:
    """Open a Zarr array or OME-Zarr image behind a URL."""
    return _opener("stores.remote:open_remote")(url, choice)


def _open_file(path: Path, choice: Choice) -> Source:
    head = _head(path)
    if not head:
        raise VolumeError(f"{path} is empty; copy it again")
    known = next((kind for kind in _FILES if kind.begins(_unzipped(path, head))), None)
    if known is not None:
        return known.open(path, choice)
    foreign = next((name for magic, name in _FOREIGN.items() if head.startswith(magic)), None)
    if foreign:
        raise VolumeError(f"{path} is {foreign}, which is not read; export it as TIFF or OME-Zarr")
    if path.suffix.lower() in (".raw", ".zraw", ".img"):
        raise VolumeError(
            f"{path} holds voxels and no word about them; name the header beside it (.nhdr, .mhd, "
            ".hdr)"
        )
    raise VolumeError(
        f"{path} is of no known format (it starts with {head[:8]!r}); docs/formats.md lists them"
    )


def _open_folder(path: Path, choice: Choice) -> Source:
    if any((path / name).is_file() for name in _ZARR):
        return _opener("stores.brain:open_brain_source")(path, choice)
    if (path / "attributes.json").is_file():
        return _opener("n5.source:open_n5")(path, choice)
    if path.name.startswith("RES(") or any(p.is_dir() for p in path.glob("RES(*")):
        return _opener("vaa3d.terafly:open_terafly")(path, choice)
    return _open_slices(path, choice)


def _open_slices(path: Path, choice: Choice) -> Source:
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
        raise VolumeError(
            f"{path} holds {len(files)} files and no TIFF slice among them; name the volume's "
            "file itself"
        )
    if len(slices) == 1:
        return _opener("tiff.source:open_tiff_stack")(slices[0], choice)
    opened: Source = importlib.import_module(f"{__package__}.tiff.source").open_tiff_slices(
        path, slices, choice
    )
    return opened


def _opener(name: str) -> Callable[[Path | str, Choice], Source]:
    module, function = name.split(":")
    opener: Callable[[Path | str, Choice], Source] = getattr(
        importlib.import_module(f"{__package__}.{module}"), function
    )
    return opener


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise VolumeError(f"{path} cannot be read: {error.strerror}") from error


def _unzipped(path: Path, head: bytes) -> bytes:
    """First bytes of what a gzip file holds; of the file itself if it is none."""
    if not head.startswith(_GZIP):
        return head
    try:
        with gzip.open(path) as file:
            return file.read(HEAD)
    except (OSError, EOFError, zlib.error) as error:
        raise VolumeError(f"{path} is a damaged gzip file ({error}); copy it again") from error
