import gzip
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.volume import open_source

SHAPE = (5, 7, 9)
WHOLE = Box.of_shape(SHAPE)
VOXELS = np.random.default_rng(0).integers(0, 30000, SHAPE).astype(np.uint16)
NAMES = ["a.nii", "a.nii.gz", "a.hdr", "a.hdr.gz"]
KINDS = {
    1: (nibabel.Nifti1Image, nibabel.Nifti1Pair),
    2: (nibabel.Nifti2Image, nibabel.Nifti2Pair),
}


def written(
    path: Path,
    voxels: Any = VOXELS,
    affine: Any = ((0.4, 0, 0, 0), (0, 0.5, 0, 0), (0, 0, 2, 0), (0, 0, 0, 1)),
    version: int = 1,
    unit: str | None = "micron",
) -> Path:
    """What nibabel makes of (z, y, x) voxels."""
    kind = KINDS[version][".hdr" in path.name]
    header = kind.header_class(endianness=">" if voxels.dtype.byteorder == ">" else "<")
    image = kind(voxels.T, np.array(affine), header, dtype=voxels.dtype)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


def patched(path: Path, field: str, value: Any) -> Path:
    """Change one field of a written header, where no library checks it."""
    packed = path.suffix == ".gz"
    raw = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    fields = np.frombuffer(raw, nibabel.Nifti1Header.template_dtype, 1)[0]
    fields[field] = value
    path.write_bytes(gzip.compress(bytes(raw)) if packed else bytes(raw))
    return path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("version", [1, 2])
def test_what_nibabel_writes_is_read(tmp_path: Path, name: str, version: int) -> None:
    source = open_source(written(tmp_path / name, version=version))

    assert (source.format, source.shape, source.dtype) == ("NIfTI", SHAPE, np.uint16)
    assert source.spacing_um == (2, 0.5, 0.4)
    assert source.notes == ()
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)


@pytest.mark.parametrize("name", NAMES[:3])
def test_what_itk_writes_is_read(tmp_path: Path, name: str) -> None:
    image = SimpleITK.GetImageFromArray(VOXELS)
    image.SetSpacing((0.4, 0.5, 2))
    image.SetOrigin((1, 2, 3))
    SimpleITK.WriteImage(image, tmp_path / name)
    source = open_source(tmp_path / name)

    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)
    assert source.spacing_um == pytest.approx((2000, 500, 400))
    assert source.origin_um == (0, 0, 0)  # ITK mirrors x and y
    assert source.notes[0].startswith("the origin (x, y, z) (-1, -2, 3) is left out")


@pytest.mark.parametrize("dtype", ["u1", "i1", ">u2", "<i2", ">u4", "<i4", "<u8", "<f4", ">f8"])
def test_types_and_byte_orders_are_kept(tmp_path: Path, dtype: str) -> None:
    voxels = VOXELS.astype(np.dtype(dtype))
    source = open_source(written(tmp_path / "a.nii", voxels))

    assert source.dtype == voxels.dtype.newbyteorder("=")
    np.testing.assert_array_equal(source.read(WHOLE), voxels)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_window_is_a_crop_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = written(tmp_path_factory.getbasetemp() / data.draw(st.sampled_from(NAMES)))
    a = [data.draw(st.integers(0, n - 1)) for n in SHAPE]
    b = [data.draw(st.integers(k + 1, n)) for k, n in zip(a, SHAPE, strict=True)]
    box = Box((a[0], a[1], a[2]), (b[0], b[1], b[2]))

    np.testing.assert_array_equal(open_source(path).read(box), VOXELS[box.slices])


@pytest.mark.parametrize("name", NAMES)
def test_two_threads_read_what_one_reads(tmp_path: Path, name: str) -> None:
    source = open_source(written(tmp_path / name))
    boxes = list(WHOLE.split((2, 3, 4))) * 3

    with ThreadPoolExecutor(2) as pool:
        for box, part in zip(boxes, pool.map(source.read, boxes), strict=True):
            np.testing.assert_array_equal(part, VOXELS[box.slices])


@pytest.mark.parametrize(("unit", "um"), [("mm", 1e3), ("micron", 1.0), ("meter", 1e6)])
def test_units_of_space_are_understood(tmp_path: Path, unit: str, um: float) -> None:
    affine = np.array([[0.4, 0, 0, 1], [0, 0.5, 0, 2], [0, 0, 2, 3], [0, 0, 0, 1]])
    source = open_source(written(tmp_path / "a.nii", affine=affine, unit=unit))

    assert source.spacing_um == pytest.approx((2 * um, 0.5 * um, 0.4 * um), rel=1e-12)
    assert source.origin_um == (3 * um, 2 * um, 1 * um)


def test_without_a_unit_the_size_is_told_and_not_used(tmp_path: Path) -> None:
    source = open_source(written(tmp_path / "a.nii", unit=None))

    assert source.spacing_um is None
    assert source.notes == (
        "the voxel size (z, y, x) (2, 0.5, 0.4) is given without a unit: --spacing sets it",
    )


def test_a_turned_affine_is_noted_and_voxels_keep_their_order(tmp_path: Path) -> None:
    turned = np.array([[0.6, -0.8, 0, 9], [0.8, 0.6, 0, 9], [0, 0, 2, 9], [0, 0, 0, 1]])
    source = open_source(written(tmp_path / "a.nii", affine=turned))

    assert source.spacing_um == pytest.approx((2, 1, 1))
    assert "x (0.6, 0.8, 0), y (-0.8, 0.6, 0), z (0, 0, 1)" in source.notes[0]
    assert "origin (x, y, z) (9, 9, 9) is left out" in source.notes[1]
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)


@pytest.mark.parametrize("sform", [True, False])
@pytest.mark.parametrize("qform", [True, False])
def test_sform_comes_before_qform_and_both_before_pixdim(
    tmp_path: Path, sform: bool, qform: bool
) -> None:
    image = nibabel.Nifti1Image(VOXELS.T, np.eye(4))
    image.header.set_xyzt_units("micron")
    image.header.set_qform(np.diag([3, 3, 3, 1]), 1 if qform else 0)
    image.header.set_sform(np.diag([2, 2, 2, 1]), 1 if sform else 0)
    (tmp_path / "a.nii").write_bytes(b"")
    with (tmp_path / "a.nii").open("wb") as file:
        image.header["vox_offset"] = 352
        image.header["magic"] = b"n+1"
        file.write(image.header.binaryblock + bytes(4) + VOXELS.tobytes())
    source = open_source(tmp_path / "a.nii")

    assert source.spacing_um == ((2, 2, 2) if sform else (3, 3, 3))
    assert [note.startswith("pixdim (z, y, x) is (3, 3, 3)") for note in source.notes] == [
        True
    ] * sform


@pytest.mark.parametrize(
    ("slope", "inter", "noted"), [(1, 0, 0), (0, 5, 0), (np.nan, 0, 0), (2, -3, 1)]
)
def test_scaling_is_noted_and_values_are_kept(
    tmp_path: Path, slope: float, inter: float, noted: int
) -> None:
    path = patched(patched(written(tmp_path / "a.nii"), "scl_slope", slope), "scl_inter", inter)
    source = open_source(path)

    assert source.dtype == np.uint16
    assert len(source.notes) == noted
    assert not noted or "2 * value + -3" in source.notes[0]
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)


def test_vectors_have_channels(tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray(np.stack([VOXELS, VOXELS + 1], -1), isVector=True)
    SimpleITK.WriteImage(image, tmp_path / "a.nii.gz")
    source = open_source(tmp_path / "a.nii.gz", channel=1)

    assert source.channels == 2
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS + 1)
    with pytest.raises(VolumeError, match="2 channels"):
        open_source(tmp_path / "a.nii.gz")
    with pytest.raises(UsageError, match="channel 5"):
        open_source(tmp_path / "a.nii.gz", channel=5)


def test_extensions_of_the_header_are_skipped(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VOXELS.T, np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"hello" * 99))
    for name in NAMES[:2]:
        nibabel.save(image, tmp_path / name)
        np.testing.assert_array_equal(open_source(tmp_path / name).read(WHOLE), VOXELS)


@pytest.mark.parametrize("name", ["a.HDR", "b.hdr"])
def test_the_image_of_a_pair_is_found(tmp_path: Path, name: str) -> None:
    written(tmp_path / "x.hdr").rename(tmp_path / name)
    (tmp_path / "x.img").rename(tmp_path / name.replace("hdr", "img").replace("HDR", "IMG"))

    source = open_source(tmp_path / name)
    assert source.identity.files == 2
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)


def test_a_header_without_its_image_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.hdr")
    (tmp_path / "a.img").unlink()

    with pytest.raises(VolumeError, match=r"no a\.img beside it"):
        open_source(path)


def test_axes_of_one_sample_are_dropped(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VOXELS.T[..., None, None], np.eye(4))
    nibabel.save(image, tmp_path / "a.nii")

    assert open_source(tmp_path / "a.nii").shape == SHAPE


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "time": ({"dim": [4, 9, 7, 1, 5, 1, 1, 1]}, "time series of 5 frames"),
    "unknown axis": ({"dim": [5, 9, 7, 1, 1, 5, 1, 1]}, "does not say what its last axes are"),
    "sixth axis": ({"dim": [6, 9, 7, 1, 1, 1, 5, 1]}, "does not say what its last axes are"),
    "two axes": ({"dim": [2, 63, 5, 1, 1, 1, 1, 1]}, "2 axes"),
    "colour": ({"datatype": 128, "bitpix": 24}, "colour image"),
    "colour and alpha": ({"datatype": 2304, "bitpix": 32}, "colour image"),
    "complex": ({"datatype": 32, "bitpix": 64}, "complex64"),
    "unknown type": ({"datatype": 77}, "not a readable NIfTI"),
    "bits": ({"bitpix": 8}, "declares 8 bits for uint16"),
    "zero": ({"dim": [3, 0, 7, 5, 1, 1, 1, 1]}, "no voxels"),
    "negative": ({"dim": [3, -9, -7, 5, 1, 1, 1, 1]}, "no voxels"),
    "too short": ({"dim": [3, 9, 7, 6, 1, 1, 1, 1]}, "truncated|cannot unpack|unpacks to"),
    "too long": ({"dim": [3, 9, 7, 4, 1, 1, 1, 1]}, "goes on for 126 bytes|unpacks to more"),
    "absurd": ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "truncated|cannot unpack"),
    "in the header": ({"vox_offset": 100}, "inside its 352 byte header"),
    "nowhere": ({"vox_offset": np.nan}, "at byte nan"),
    "before": ({"vox_offset": -352}, "at byte -352"),
    "between": ({"vox_offset": 352.5}, "at byte 352.5"),
    "beyond": ({"vox_offset": 1e18}, "truncated|cannot unpack"),
    "header size": ({"sizeof_hdr": 349}, "header size 349"),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES[:2])
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_grey_volume_is_refused_by_name(tmp_path: Path, case: str, name: str) -> None:
    fields, said = REFUSED[case]
    path = written(tmp_path / name)
    for field, value in fields.items():
        patched(path, field, value)

    with pytest.raises(VolumeError, match=said) as caught:
        open_source(path).read(WHOLE)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_impossible_size_is_noted(tmp_path: Path) -> None:
    path = patched(written(tmp_path / "a.nii"), "srow_x", [np.nan, 0, 0, 0])
    source = open_source(path)

    assert source.spacing_um is None
    assert "is not positive" in source.notes[0]


def test_nibabel_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.nii")
    monkeypatch.setitem(sys.modules, "nibabel", None)

    with pytest.raises(VolumeError, match=r"needs nibabel.*pip install 'neuroconn\[formats\]'"):
        open_source(path)


@pytest.mark.parametrize("name", NAMES)
def test_opening_unpacks_no_voxels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from neuroconn.volume.sources.raster import unpack

    path = written(tmp_path / name)
    monkeypatch.setattr(unpack.Packed, "__call__", lambda *_: pytest.fail("unpacked"))

    assert open_source(path).shape == SHAPE
