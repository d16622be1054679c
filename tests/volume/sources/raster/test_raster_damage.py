"""NRRD, NIfTI and MetaImage files with something wrong: read right, or refused in one line."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.volume.sources.base import Choice
from neuroconn.volume.sources.raster.metaimage import open_metaimage
from neuroconn.volume.sources.raster.nifti import open_nifti
from neuroconn.volume.sources.raster.nrrd import open_nrrd

VOXELS = np.random.default_rng(0).integers(0, 60000, (5, 7, 9)).astype(np.uint16)
OPENERS: dict[str, Callable[[Path, Choice], Any]] = {
    "nrrd": open_nrrd, "nhdr": open_nrrd, "nii": open_nifti, "gz": open_nifti, "hdr": open_nifti,
    "mha": open_metaimage, "mhd": open_metaimage,
}  # fmt: skip
WORDS = [b"", b"-1", b"nan", b"1e999", b"9" * 40, b"(1,2", b'"', b"\xff\x00", b"none", b"0",
         b"??", b"True", b"% d%s", b"../x", b"LIST"]  # fmt: skip
KINDS = [
    "raw.nrrd", "gzip.nrrd", "bzip2.nrrd", "raw.nhdr", "gzip.nhdr", "1.nii", "2.nii", "1.nii.gz",
    "2.nii.gz", "1.hdr", "2.hdr.gz", "raw.mha", "zlib.mha", "raw.mhd", "zlib.mhd",
]  # fmt: skip


def written(folder: Path, kind: str) -> Path:
    """A file of a kind, by a library that is not ours."""
    path = folder / f"brain_{kind}"
    how = kind.partition(".")[0]
    if "nrrd" in kind or "nhdr" in kind:
        header = {
            "encoding": how, "kinds": ["domain"] * 3, "space dimension": 3,
            "space directions": np.eye(3), "space units": ["mm"] * 3, "space origin": np.zeros(3),
        }  # fmt: skip
        nrrd.write(str(path), VOXELS, header, "nhdr" in kind, index_order="C")
    elif "mh" in kind:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VOXELS), path, how == "zlib")
    else:
        name = f"Nifti{how}{'Pair' if 'hdr' in kind else 'Image'}"
        nibabel.save(getattr(nibabel, name)(VOXELS.T, np.eye(4)), path)
    return path


def outcome(path: Path) -> NDArray[Any] | str:
    """The voxels, or the one line of the error."""
    try:
        source = OPENERS[path.suffix[1:]](path, Choice())
        voxels = source.read(Box.of_shape(source.shape))
    except (VolumeError, UsageError) as error:
        said = str(error)
    else:
        assert voxels.shape == source.shape
        return voxels
    assert "\n" not in said
    assert path.stem.partition(".")[0] in said
    return said


def lines_edited(random: np.random.Generator, whole: bytes) -> bytes:
    """A text header with one line wrong, or three bits."""
    end = (
        whole.find(b"\n\n") if whole.startswith(b"NRRD") else whole.index(b"\nElementDataFile") + 19
    )
    end = len(whole) if end < 0 else end
    lines = whole[:end].split(b"\n")
    k = int(random.integers(len(lines)))
    word = WORDS[random.integers(len(WORDS))]
    match random.integers(5):
        case 0:
            mark = b":" if b":" in lines[k] else b"="
            lines[k] = lines[k].partition(mark)[0] + mark + b" " + word
        case 1:
            lines[k] += b" " + word
        case 2:
            del lines[k]
        case 3:
            lines.insert(k, lines[int(random.integers(len(lines)))])
        case _:
            return bits_flipped(whole, random.integers(0, 8 * end, 3))
    return b"\n".join(lines) + whole[end:]


def bytes_edited(random: np.random.Generator, whole: bytes) -> bytes:
    """A NIfTI header with eight bits wrong, or four bytes."""
    packed = whole.startswith(b"\x1f\x8b")
    raw = gzip.decompress(whole) if packed else whole
    size = 348 if raw[:4] == (348).to_bytes(4, "little") else 540
    if random.integers(2):
        raw = bits_flipped(raw, random.integers(0, 8 * size, 8))
    else:
        at = int(random.integers(size - 4))
        raw = raw[:at] + random.bytes(4) + raw[at + 4 :]
    return gzip.compress(raw) if packed else raw


def bits_flipped(whole: bytes, bits: Any) -> bytes:
    flipped = bytearray(whole)
    for bit in bits:
        flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def each_file(path: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file that belongs to a volume, with its bytes; put back afterwards."""
    for file in sorted(path.parent.iterdir()):
        whole = file.read_bytes()
        yield file, whole
        file.write_bytes(whole)


@pytest.mark.parametrize("kind", KINDS)
def test_undamaged_files_are_read(tmp_path: Path, kind: str) -> None:
    np.testing.assert_array_equal(outcome(written(tmp_path, kind)), VOXELS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_is_never_another_volume(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)
    for file, whole in each_file(path):
        for size in {*range(0, len(whole), 13), len(whole) - 1}:
            file.write_bytes(whole[:size])
            result = outcome(path)
            # The end of a header with the voxels elsewhere may be blank, or name the file.
            text = file == path and kind.endswith(("nhdr", "hdr", "hdr.gz", "mhd"))
            assert isinstance(result, str) or (text and np.array_equal(result, VOXELS)), size


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_goes_on_is_refused(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)
    for file, whole in each_file(path):
        file.write_bytes(whole + b"more")
        # A header without voxels ends with the last thing it must say.
        if file != path or not kind.endswith(("hdr", "hdr.gz", "mhd")):
            assert isinstance(outcome(path), str)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_headers_are_read_or_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)
    whole = path.read_bytes()
    edit = lines_edited if OPENERS[path.suffix[1:]] is not open_nifti else bytes_edited
    refused = 0
    for seed in range(60):
        damaged = edit(np.random.default_rng(seed), whole)
        path.write_bytes(damaged)
        result = outcome(path)
        refused += isinstance(result, str)
        if not isinstance(result, str):  # another shape or type of the same bytes
            assert sorted(result.tobytes()) == sorted(VOXELS.tobytes()), seed
        assert path.read_bytes() == damaged
    assert refused > 10


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith(("gzip", "bzip2"))])
def test_a_flipped_bit_in_packed_nrrd_is_never_another_volume(tmp_path: Path, kind: str) -> None:
    flip_voxels(written(tmp_path, kind), b"\n\n")


@pytest.mark.parametrize("kind", ["zlib.mha", "zlib.mhd"])
def test_a_flipped_bit_in_a_packed_metaimage_is_never_another_volume(
    tmp_path: Path, kind: str
) -> None:
    flip_voxels(written(tmp_path, kind), b"= LOCAL\n")


@pytest.mark.parametrize("kind", ["1.nii.gz", "2.nii.gz", "2.hdr.gz"])
def test_a_flipped_bit_in_packed_nifti_is_never_another_volume(tmp_path: Path, kind: str) -> None:
    flip_voxels(written(tmp_path, kind), b"\x1f\x8b")


def flip_voxels(path: Path, last: bytes) -> None:
    """Flip bits after the header, which ends with ``last``; a file of voxels alone has none."""
    file = max(path.parent.iterdir(), key=lambda file: file.stat().st_size)
    whole = file.read_bytes()
    start = whole.find(last) + len(last) if file == path else 0
    for bit in np.random.default_rng(2).choice(np.arange(8 * start, 8 * len(whole)), 80):
        file.write_bytes(bits_flipped(whole, [bit]))
        result = outcome(path)
        assert isinstance(result, str) or np.array_equal(result, VOXELS), bit
