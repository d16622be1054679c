"""Volumes that NumPy saved: ``.npy``, and the arrays of a ``.npz`` archive."""

from __future__ import annotations

import shutil
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from neuroconn.errors import NeuroconnError, UsageError, VolumeError
from neuroconn.volume.sources.arrays.memory_maps import ArraySource, InPlace, Voxels
from neuroconn.volume.sources.arrays.numpy_header import NumpyHeader, read_numpy_header
from neuroconn.volume.sources.arrays.staging import Staged
from neuroconn.volume.sources.base import Choice, chosen_channel, file_identity

DEFLATE_RATIO = 1032
"""Most bytes that a byte of deflated data can stand for."""

_LOCAL = struct.Struct("<4s22x2H")
"""Signature, and the lengths of name and extra field, in front of a member's data."""


class NpySource(ArraySource):
    """The array of a ``.npy`` file, read in place."""

    format = "NumPy"


class NpzSource(ArraySource):
    """An array of a ``.npz`` archive, read in place if it was stored, else unpacked once."""

    format = "NumPy archive"


def open_npy(path: Path, choice: Choice) -> NpySource:
    """Open a 3D array saved by ``numpy.save``, in C or Fortran order.

    Raises
    ------
    VolumeError
        If it is damaged, cut off, or not a 3D array of real numbers.
    """
    chosen_channel(1, choice, str(path))
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = read_numpy_header(file, str(path))
    except OSError as error:
        raise VolumeError(f"{path} cannot be read: {error.strerror}") from error
    header.check_volume(str(path))
    if header.length + header.nbytes != size:
        raise VolumeError(
            f"{path} has {size} bytes and its header announces {header.length + header.nbytes}: "
            "it is cut off, or holds several arrays. Copy it again, or save the brain alone"
        )
    return NpySource(
        InPlace(path, header.dtype, header.length, header.stored_shape),
        description=f"NumPy array of {header.dtype.name}",
        identity=file_identity(path.name, [path], _facts(header)),
        fortran=header.fortran,
    )


def open_npz(path: Path, choice: Choice) -> NpzSource:
    """Open a 3D array of an archive saved by ``numpy.savez`` or ``numpy.savez_compressed``.

    Parameters
    ----------
    path : Path
        The archive.
    choice : Choice
        ``dataset`` names the array; not needed if there is only one volume.

    Raises
    ------
    VolumeError
        If the archive is damaged, or holds no volume or several.
    UsageError
        If the named array does not exist.
    StorageError
        If the temporary folder is too small for a compressed array.

    Notes
    -----
    The checksum of an archive covers whole arrays: it is compared when one is unpacked, and not
    when one is read in place.
    """
    chosen_channel(1, choice, str(path))
    with _archive(path) as archive:
        member = _member(archive, path, choice)
        where = f"{path}:{member.filename}"
        header = _header(archive, member, where)
        header.check_volume(where)
        _check_size(member, header, where)
        voxels = _voxels(path, member, header, where)
    note = f"{where} is unpacked once, into {header.nbytes / 1e9:.1f} GB of temporary space"
    return NpzSource(
        voxels,
        description=f"array {_name(member)} of a NumPy archive",
        identity=file_identity(path.name, [path], [member.filename, *_facts(header)]),
        fortran=header.fortran,
        notes=(note,) if isinstance(voxels, Staged) else (),
    )


def _voxels(path: Path, member: zipfile.ZipInfo, header: NumpyHeader, where: str) -> Voxels:
    if member.compress_type == zipfile.ZIP_STORED:
        offset = _data_offset(path, member, where) + header.length
        return InPlace(path, header.dtype, offset, header.stored_shape)
    fill = partial(_unpack, path, member.filename)
    return Staged(header.stored_shape, header.dtype, fill, header.nbytes, where)


def _member(archive: zipfile.ZipFile, path: Path, choice: Choice) -> zipfile.ZipInfo:
    arrays = {_name(info): info for info in archive.infolist() if info.filename.endswith(".npy")}
    twice = [name for name, n in Counter(archive.namelist()).items() if n > 1]
    if twice:
        raise VolumeError(f"{path} holds {twice[0]} more than once; nobody knows which one counts")
    if choice.dataset is not None:
        try:
            return arrays[choice.dataset.removesuffix(".npy")]
        except KeyError:
            raise UsageError(
                f"{path} has no array {choice.dataset!r}; it has {', '.join(arrays) or 'none'}"
            ) from None
    volumes = [name for name, info in arrays.items() if _is_volume(archive, info)]
    if len(volumes) == 1:
        return arrays[volumes[0]]
    if len(arrays) == 1:
        return next(iter(arrays.values()))  # its own defect says more than that it is no volume
    if not volumes:
        raise VolumeError(
            f"{path} holds no (z, y, x) volume; its arrays are {', '.join(arrays) or 'none'}"
        )
    raise VolumeError(
        f"{path} holds {len(volumes)} volumes and a brain is one; choose it: --dataset "
        f"{' or '.join(volumes)}"
    )


def _is_volume(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    try:
        _header(archive, member, member.filename).check_volume(member.filename)
    except VolumeError:
        return False
    return True


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> NumpyHeader:
    if member.flag_bits & 1:
        raise VolumeError(f"{where} is encrypted; save it without a password")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise VolumeError(
            f"{where} is compressed by method {member.compress_type}, which NumPy does not write; "
            "save it by numpy.savez_compressed"
        )
    with _damage_named(where), archive.open(member) as file:
        return read_numpy_header(file, where)


def _check_size(member: zipfile.ZipInfo, header: NumpyHeader, where: str) -> None:
    size, packed = header.length + header.nbytes, member.compress_size
    if member.file_size != size:
        raise VolumeError(
            f"{where} has {member.file_size} bytes and its header announces {size}: it is damaged "
            "or cut off. Copy it again"
        )
    most = packed if member.compress_type == zipfile.ZIP_STORED else packed * DEFLATE_RATIO
    if size > most:
        raise VolumeError(
            f"{where} announces {size} bytes and has {packed}, too few however well they "
            "compress: it is damaged. Copy it again"
        )


def _data_offset(path: Path, member: zipfile.ZipInfo, where: str) -> int:
    """Byte of the archive where a stored member begins; its own header says, not the directory."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        head = file.read(_LOCAL.size)
    signature, name, extra = _LOCAL.unpack(head) if len(head) == _LOCAL.size else (b"", 0, 0)
    offset = int(member.header_offset + _LOCAL.size + name + extra)
    if signature != b"PK\x03\x04" or offset + member.file_size > path.stat().st_size:
        raise VolumeError(f"{where} leaves its archive: it is damaged or cut off. Copy it again")
    return offset


def _unpack(path: Path, name: str, sink: BinaryIO) -> None:
    """Write the voxels of a member; reading to its end compares the checksum."""
    with _archive(path) as archive, archive.open(name) as file:
        read_numpy_header(file, f"{path}:{name}")
        shutil.copyfileobj(file, sink, 1 << 20)


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    with _damage_named(str(path)), zipfile.ZipFile(path) as archive:
        yield archive


@contextmanager
def _damage_named(where: str) -> Iterator[None]:
    try:
        yield
    except NeuroconnError:
        raise
    except Exception as error:  # zipfile raises almost any type for damaged archives
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise VolumeError(f"{where} is a damaged archive ({reason}); copy it again") from error


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


def _facts(header: NumpyHeader) -> list[object]:
    return [list(header.shape), header.dtype.str, header.fortran, header.length]
