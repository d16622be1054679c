import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

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
VOXELS = np.random.default_rng(0).integers(0, 60000, SHAPE).astype(np.uint16)
FILES = [("a.mha", False), ("a.mha", True), ("a.mhd", False), ("a.mhd", True)]
BASE = {
    "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
    "DimSize": "9 7 5", "ElementType": "MET_USHORT",
}  # fmt: skip


def written(path: Path, compressed: bool = False, voxels: Any = VOXELS, **place: Any) -> Path:
    """What ITK makes of it."""
    image = SimpleITK.GetImageFromArray(voxels, isVector=voxels.ndim == 4)
    image.SetSpacing(place.get("spacing", (0.4, 0.5, 2)))
    image.SetOrigin(place.get("origin", (0, 0, 0)))
    image.SetDirection(np.ravel(place.get("direction", np.eye(3))).tolist())
    SimpleITK.WriteImage(image, path, compressed)
    return path


def by_hand(path: Path, data: bytes | None = VOXELS.tobytes(), **fields: Any) -> Path:
    """A header with some fields of one's own, None to leave one out; no data: detached."""
    given = {**BASE, **fields}
    last = {"ElementDataFile": given.pop("ElementDataFile", "LOCAL")}
    lines = [f"{key} = {value}" for key, value in {**given, **last}.items() if value is not None]
    path.write_bytes("\n".join([*lines, ""]).encode() + (data or b""))
    return path


@pytest.mark.parametrize(("name", "compressed"), FILES)
def test_what_itk_writes_is_read(tmp_path: Path, name: str, compressed: bool) -> None:
    source = open_source(written(tmp_path / name, compressed))

    assert (source.format, source.shape, source.dtype) == ("MetaImage", SHAPE, np.uint16)
    assert source.unit == (1, 1, 9)
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)
    assert source.identity.files == (2 if name == "a.mhd" else 1)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_types_of_itk_are_kept(tmp_path: Path, dtype: str) -> None:
    voxels = VOXELS.astype(dtype)
    source = open_source(written(tmp_path / "a.mha", voxels=voxels))

    assert source.dtype == voxels.dtype
    np.testing.assert_array_equal(source.read(WHOLE), voxels)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("MET_CHAR", "i1"), ("MET_SHORT", ">i2"), ("MET_LONG", ">i4"), ("MET_ULONG", ">u4"),
     ("MET_LONG_LONG", ">i8"), ("MET_FLOAT", ">f4"), ("MET_DOUBLE", ">f8")],
)  # fmt: skip
@pytest.mark.parametrize("key", ["BinaryDataByteOrderMSB", "ElementByteOrderMSB"])
def test_the_most_significant_byte_may_come_first(
    tmp_path: Path, name: str, dtype: str, key: str
) -> None:
    voxels = VOXELS.astype(dtype)
    fields = {"BinaryDataByteOrderMSB": None, key: "True", "ElementType": name}
    path = by_hand(tmp_path / "a.mha", voxels.tobytes(), **fields)
    source = open_source(path)

    assert source.dtype == voxels.dtype.newbyteorder("=")
    np.testing.assert_array_equal(source.read(WHOLE), voxels)
    itk = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))
    np.testing.assert_array_equal(source.read(WHOLE), itk)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_window_is_a_crop_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name, compressed = data.draw(st.sampled_from(FILES))
    path = written(tmp_path_factory.getbasetemp() / name, compressed)
    a = [data.draw(st.integers(0, n - 1)) for n in SHAPE]
    b = [data.draw(st.integers(k + 1, n)) for k, n in zip(a, SHAPE, strict=True)]
    box = Box((a[0], a[1], a[2]), (b[0], b[1], b[2]))

    np.testing.assert_array_equal(open_source(path).read(box), VOXELS[box.slices])


@pytest.mark.parametrize(("name", "compressed"), FILES)
def test_two_threads_read_what_one_reads(tmp_path: Path, name: str, compressed: bool) -> None:
    source = open_source(written(tmp_path / name, compressed))
    boxes = list(WHOLE.split((2, 3, 4))) * 3

    with ThreadPoolExecutor(2) as pool:
        for box, part in zip(boxes, pool.map(source.read, boxes), strict=True):
            np.testing.assert_array_equal(part, VOXELS[box.slices])


def test_an_anatomical_orientation_makes_millimetres(tmp_path: Path) -> None:
    source = open_source(written(tmp_path / "a.mha", origin=(1, 2, 3)))

    assert source.spacing_um == pytest.approx((2000, 500, 400))
    assert source.origin_um == (3000, 2000, 1000)
    assert source.notes[0].startswith("ElementSpacing is taken as millimetres")


@pytest.mark.parametrize(("unit", "um"), [("um", 1), ("mm", 1000), ("'cm'", 10000)])
def test_distance_units_are_taken_at_their_word(tmp_path: Path, unit: str, um: float) -> None:
    fields = {"ElementSpacing": "0.4 0.5 2", "Offset": "1 2 3", "DistanceUnits": unit}
    source = open_source(by_hand(tmp_path / "a.mha", AnatomicalOrientation="RAI", **fields))

    assert source.spacing_um == pytest.approx((2 * um, 0.5 * um, 0.4 * um))
    assert source.origin_um == (3 * um, 2 * um, 1 * um)
    assert source.notes == ()


@pytest.mark.parametrize(
    "fields", [{}, {"AnatomicalOrientation": "???"}, {"DistanceUnits": "?"}], ids=str
)
@pytest.mark.parametrize("key", ["ElementSpacing", "ElementSize"])
def test_without_a_unit_the_size_is_told_and_not_used(
    tmp_path: Path, fields: dict[str, str], key: str
) -> None:
    source = open_source(by_hand(tmp_path / "a.mha", **fields, **{key: "0.4 0.5 2"}))

    assert source.spacing_um is None
    assert source.notes == (
        "the voxel size (z, y, x) (2, 0.5, 0.4) is given without a unit: --spacing sets it",
    )


def test_a_unit_that_is_none_is_told(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "a.mha", ElementSpacing="1 1 2", DistanceUnits="furlong")

    assert "(2, 1, 1) is given in 'furlong'" in open_source(path).notes[0]


def test_without_a_size_there_is_nothing_to_note(tmp_path: Path) -> None:
    source = open_source(by_hand(tmp_path / "a.mha"))

    assert (source.spacing_um, source.notes) == (None, ())


def test_a_turned_direction_is_noted_as_itk_means_it(tmp_path: Path) -> None:
    direction = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]])
    path = written(tmp_path / "a.mha", direction=direction, spacing=(1, 3, 2))
    source = open_source(path)
    image = SimpleITK.ReadImage(path)
    along_x = np.subtract(
        image.TransformIndexToPhysicalPoint((1, 0, 0)),
        image.TransformIndexToPhysicalPoint((0, 0, 0)),
    )

    assert source.spacing_um == pytest.approx((2000, 3000, 1000))
    assert "x ({:.6g}, {:.6g}, {:.6g}),".format(*along_x) in source.notes[0]
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)


def test_scaling_is_noted_and_values_are_kept(tmp_path: Path) -> None:
    path = by_hand(
        tmp_path / "a.mha", ElementToIntensityFunctionSlope=2, ElementToIntensityFunctionOffset=-3,
        ElementSpacing="1 1 1", DistanceUnits="um",
    )  # fmt: skip
    source = open_source(path)

    assert source.notes == ("values stand for 2 * value + -3: kept as stored",)
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)


@pytest.mark.parametrize(("name", "compressed"), FILES)
def test_channels_lie_beside_one_another(tmp_path: Path, name: str, compressed: bool) -> None:
    both = np.stack([VOXELS, VOXELS[::-1]], -1)
    path = written(tmp_path / name, compressed, both)

    np.testing.assert_array_equal(open_source(path, channel=0).read(WHOLE), VOXELS)
    np.testing.assert_array_equal(open_source(path, channel=1).read(WHOLE), VOXELS[::-1])
    with pytest.raises(VolumeError, match="2 channels"):
        open_source(path)
    with pytest.raises(UsageError, match="channel 2"):
        open_source(path, channel=2)


@pytest.mark.parametrize("skip", [0, 11, -1])
def test_bytes_before_the_voxels_are_skipped(tmp_path: Path, skip: int) -> None:
    (tmp_path / "a.raw").write_bytes(b"x" * (skip if skip > 0 else -7 * skip) + VOXELS.tobytes())
    path = by_hand(tmp_path / "a.mhd", None, HeaderSize=skip, ElementDataFile="a.raw")
    source = open_source(path)

    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)
    itk = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))
    np.testing.assert_array_equal(source.read(WHOLE), itk)


@pytest.mark.parametrize("names", ["LIST", "s%02d.raw 3 7 1"])
def test_planes_may_lie_in_files_of_their_own(tmp_path: Path, names: str) -> None:
    for z, plane in enumerate(VOXELS, 3):
        (tmp_path / f"s{z:02}.raw").write_bytes(plane.tobytes())
    path = by_hand(tmp_path / "a.mhd", None, ElementDataFile=names)
    if names == "LIST":
        path.write_text(path.read_text() + "".join(f"s{z:02}.raw\n" for z in range(3, 8)))
    source = open_source(path)

    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)
    itk = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))
    np.testing.assert_array_equal(source.read(WHOLE), itk)
    assert source.identity.files == 6


def test_the_stream_of_other_writers_may_be_gzip_and_without_a_size(tmp_path: Path) -> None:
    import gzip

    path = by_hand(tmp_path / "a.mha", gzip.compress(VOXELS.tobytes()), CompressedData="True")

    np.testing.assert_array_equal(open_source(path).read(WHOLE), VOXELS)


def test_line_ends_comments_and_axes_of_one_sample_do_not_matter(tmp_path: Path) -> None:
    text = (
        "# by hand\r\nObjectType=Image\r\n\r\nNDims = 4\r\nDimSize = 9 7 5 1\r\n"
        "ElementSpacing = 1 1 2 1\r\nDistanceUnits = um\r\nElementType = MET_USHORT\r\n"
        "ElementDataFile = Local\r\n"
    )
    (tmp_path / "a.mha").write_bytes(text.encode() + VOXELS.tobytes())
    source = open_source(tmp_path / "a.mha")

    assert source.spacing_um == (2, 1, 1)
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "text": ({"BinaryData": "False"}, "as text"),
    "not an image": ({"ObjectType": "Tube"}, "MetaIO Tube"),
    "no type": ({"ElementType": None}, "ElementType ''"),
    "strings": ({"ElementType": "MET_STRING"}, "ElementType 'MET_STRING'"),
    "no sizes": ({"DimSize": None}, "DimSize is ''"),
    "no axes": ({"NDims": None}, "NDims is ''"),
    "two axes": ({"NDims": 2, "DimSize": "63 5"}, "one .* volume"),
    "four axes": ({"NDims": 4, "DimSize": "9 7 1 5"}, "one .* volume"),
    "contradiction": ({"NDims": 4}, "NDims 4 and DimSize"),
    "not numbers": ({"DimSize": "9 7 5.0"}, "not numbers"),
    "zero": ({"DimSize": "9 0 5"}, "no voxels"),
    "negative": ({"DimSize": "-9 -7 5"}, "no voxels"),
    "too long": ({"DimSize": "9 7 4"}, "goes on for 126 bytes"),
    "too short": ({"DimSize": "9 7 6"}, "truncated"),
    "absurd": ({"DimSize": "9999999999 9999999999 99999999"}, "truncated"),
    "no channels": ({"ElementNumberOfChannels": 0}, "no voxels"),
    "two orders": ({"ElementByteOrderMSB": "True"}, "two byte orders"),
    "no flag": ({"BinaryDataByteOrderMSB": "maybe"}, "'maybe', not True or False"),
    "skips back": ({"HeaderSize": -2}, "leads nowhere"),
    "from the end, short": ({"HeaderSize": -1, "DimSize": "9 7 6"}, "truncated"),
    "packed from the end": ({"HeaderSize": -1, "CompressedData": "True"}, "leads nowhere"),
    "not packed": ({"CompressedData": "True"}, "cannot be unpacked|damaged|cannot unpack"),
    "packed, cut": ({"CompressedData": "True", "CompressedDataSize": 9999}, "says 9999"),
    "packed, absurd": ({"CompressedData": "True", "DimSize": "9 7 500000"}, "cannot unpack"),
    "matrix": ({"ElementSpacing": "1 1 1", "TransformMatrix": "1 0 0"}, "not a readable"),
    "spacing": ({"ElementSpacing": "1 1"}, "not a readable"),
    "words": ({"ElementSpacing": "a b c"}, "not a readable"),
    "twice": ({"ObjectType": "Image\nNDims = 3"}, "'key = value'"),
    "a stray line": ({"ObjectType": "Image\nhello"}, "'hello' in its header"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_grey_volume_is_refused_by_name(tmp_path: Path, case: str) -> None:
    fields, said = REFUSED[case]
    with pytest.raises(VolumeError, match=said) as caught:
        open_source(by_hand(tmp_path / "a.mha", **fields)).read(WHOLE)
    assert "a.mha" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "../a.raw",
        "/etc/passwd",
        "sub/../../a.raw",
        "sub/../b.raw",
        "C:\\a.raw",
        "\\\\host\\a",
        "",
        "link",
        ".",
    ],
)
def test_data_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "a.raw").write_bytes(VOXELS.tobytes())
    (tmp_path / "in" / "sub").mkdir()
    (tmp_path / "in" / "b.raw").write_bytes(VOXELS.tobytes())
    (tmp_path / "in" / "link").symlink_to(tmp_path / "a.raw")

    with pytest.raises(VolumeError):
        open_source(by_hand(tmp_path / "in" / "a.mhd", None, ElementDataFile=name))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("none.raw", "no such file"),
        ("s%d.raw 1 999999999999 1", "stands for 999999999999 files"),
        ("LIST", "lists 0 data files"),
        ("LIST\n" + "a.raw\n" * 9, "lists 9 data files"),
        ("LIST\na.raw\na.raw\n", "cannot share 5 planes"),
    ],
)
def test_data_files_that_make_no_volume_are_refused(tmp_path: Path, names: str, said: str) -> None:
    (tmp_path / "a.raw").write_bytes(VOXELS.tobytes())

    with pytest.raises(VolumeError, match=said):
        open_source(by_hand(tmp_path / "a.mhd", None, ElementDataFile=names))


def test_packed_planes_in_files_of_their_own_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(zlib.compress(VOXELS.tobytes()))
    names = "LIST\n" + "a.raw\n" * 5
    path = by_hand(tmp_path / "a.mhd", None, CompressedData="True", ElementDataFile=names)

    with pytest.raises(VolumeError, match="compressed voxels over 5 files"):
        open_source(path)


def test_opening_unpacks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from neuroconn.volume.sources.raster import unpack

    path = written(tmp_path / "a.mha", compressed=True)
    monkeypatch.setattr(unpack.Packed, "__call__", lambda *_: pytest.fail("unpacked"))

    assert open_source(path).shape == SHAPE
