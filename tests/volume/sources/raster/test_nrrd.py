import gzip
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nrrd
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
BASE = {
    "type": "uint16", "dimension": "3", "sizes": "9 7 5", "endian": "little", "encoding": "raw",
}  # fmt: skip
ENCODINGS = ["raw", "gzip", "bzip2"]


def written(path: Path, voxels: Any = VOXELS, detached: bool = False, **fields: Any) -> Path:
    """What pynrrd makes of it; its index order is x first unless told otherwise."""
    header = {key.replace("_", " "): value for key, value in fields.items()}
    nrrd.write(str(path), voxels, header, detached_header=detached, index_order="C")
    return path


def by_hand(path: Path, data: bytes | None = VOXELS.tobytes(), **fields: Any) -> Path:
    """A header with some fields of one's own, None to leave one out; no data: detached."""
    given = {**BASE, **{key.replace("_", " "): value for key, value in fields.items()}}
    lines = [f"{key}: {value}" for key, value in given.items() if value is not None]
    text = "\n".join(["NRRD0004", *lines, ""])
    path.write_bytes(text.encode() + (b"" if data is None else b"\n" + data))
    return path


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("detached", [False, True])
def test_what_pynrrd_writes_is_read(tmp_path: Path, encoding: str, detached: bool) -> None:
    path = tmp_path / ("a.nhdr" if detached else "a.nrrd")
    source = open_source(written(path, detached=detached, encoding=encoding))

    assert (source.format, source.shape, source.dtype) == ("NRRD", SHAPE, np.uint16)
    assert source.unit == (1, 1, 9)
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)
    assert source.identity.files == 1 + detached


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr"])
@pytest.mark.parametrize("compressed", [False, True])
def test_what_itk_writes_is_read(tmp_path: Path, name: str, compressed: bool) -> None:
    image = SimpleITK.GetImageFromArray(VOXELS)
    image.SetSpacing((0.4, 0.5, 2))
    SimpleITK.WriteImage(image, tmp_path / name, compressed)
    source = open_source(tmp_path / name)

    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)
    assert source.spacing_um is None  # ITK writes no unit
    assert source.notes[0].startswith("the voxel size (z, y, x) (2, 0.5, 0.4) is given without")


@pytest.mark.parametrize("dtype", ["u1", "i1", ">u2", "<i2", ">u4", "<i4", "<u8", "<f4", ">f8"])
def test_types_and_byte_orders_are_kept(tmp_path: Path, dtype: str) -> None:
    voxels = VOXELS.astype(np.dtype(dtype))
    source = open_source(written(tmp_path / "a.nrrd", voxels))

    assert source.dtype == voxels.dtype.newbyteorder("=")
    np.testing.assert_array_equal(source.read(WHOLE), voxels)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_window_is_a_crop_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    encoding = data.draw(st.sampled_from(ENCODINGS))
    path = written(tmp_path_factory.getbasetemp() / "window.nrrd", encoding=encoding)
    a = [data.draw(st.integers(0, n - 1)) for n in SHAPE]
    b = [data.draw(st.integers(k + 1, n)) for k, n in zip(a, SHAPE, strict=True)]
    box = Box((a[0], a[1], a[2]), (b[0], b[1], b[2]))

    np.testing.assert_array_equal(open_source(path).read(box), VOXELS[box.slices])


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_two_threads_read_what_one_reads(tmp_path: Path, encoding: str) -> None:
    source = open_source(written(tmp_path / "a.nrrd", encoding=encoding))
    boxes = list(WHOLE.split((2, 3, 4))) * 3

    with ThreadPoolExecutor(2) as pool:
        for box, part in zip(boxes, pool.map(source.read, boxes), strict=True):
            np.testing.assert_array_equal(part, VOXELS[box.slices])


def test_space_directions_and_units_give_spacing_and_origin(tmp_path: Path) -> None:
    directions = np.diag([0.4, 0.5, 2.0])
    path = written(
        tmp_path / "a.nrrd", space_dimension=3, space_directions=directions,
        space_origin=np.array([1.0, 2.0, 3.0]), space_units=["um", "um", "um"],
    )  # fmt: skip
    source = open_source(path)

    assert source.spacing_um == pytest.approx((2, 0.5, 0.4))
    assert source.origin_um == pytest.approx((3, 2, 1))
    assert source.notes == ()


@pytest.mark.parametrize(
    ("unit", "um"), [('"mm"', 1000), ('"µm"', 1), ('"μm"', 1), ("microns", 1), ('"nm"', 0.001)]
)
def test_spacings_and_units_give_the_spacing(tmp_path: Path, unit: str, um: float) -> None:
    units = " ".join([unit] * 3)
    source = open_source(by_hand(tmp_path / "a.nrrd", spacings="0.4 0.5 2", units=units))

    assert source.spacing_um == pytest.approx((2 * um, 0.5 * um, 0.4 * um))


def test_micrometres_in_an_old_encoding_are_not_metres(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "a.nrrd", spacings="0.4 0.5 2", units='"µm" "µm" "µm"')
    path.write_bytes(path.read_bytes().replace("µ".encode(), b"\xb5"))

    assert open_source(path).spacing_um == pytest.approx((2, 0.5, 0.4))


def test_a_unit_that_is_none_is_told(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "a.nrrd", spacings="0.4 0.5 2", units='"pixel" "um" "um"')
    source = open_source(path)

    assert source.spacing_um is None
    assert source.notes == (
        "the voxel size (z, y, x) (2, 0.5, 0.4) is given in 'pixel': --spacing sets it",
    )


@pytest.mark.parametrize(("centering", "first"), [("cell", 11.0), ("node", 10.0)])
def test_the_centering_says_what_axis_mins_are_the_min_of(
    tmp_path: Path, centering: str, first: float
) -> None:
    path = by_hand(
        tmp_path / "a.nrrd", spacings="2 2 2", units="um um um", axis_mins="10 10 10",
        centerings=" ".join([centering] * 3),
    )  # fmt: skip

    assert open_source(path).origin_um == (first, first, first)


def test_turned_directions_are_noted_and_voxels_keep_their_order(tmp_path: Path) -> None:
    path = by_hand(
        tmp_path / "a.nrrd", space_dimension=3, space_directions="(0.6,0.8,0) (-0.8,0.6,0) (0,0,2)",
        space_units='"mm" "mm" "mm"',
    )  # fmt: skip
    source = open_source(path)

    assert source.spacing_um == pytest.approx((2000, 1000, 1000))
    assert "x (0.6, 0.8, 0), y (-0.8, 0.6, 0), z (0, 0, 1)" in source.notes[0]
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)


def test_without_a_size_there_is_nothing_to_note(tmp_path: Path) -> None:
    source = open_source(by_hand(tmp_path / "a.nrrd"))

    assert (source.spacing_um, source.notes) == (None, ())


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_kinds_say_which_axis_is_the_channel(tmp_path: Path, axis: int, encoding: str) -> None:
    both = np.stack([VOXELS, VOXELS[::-1]], axis)
    kinds = ["domain"] * 3
    kinds.insert(3 - axis, "list")  # kinds run x first
    path = written(tmp_path / "a.nrrd", both, kinds=kinds, encoding=encoding)

    np.testing.assert_array_equal(open_source(path, channel=0).read(WHOLE), VOXELS)
    np.testing.assert_array_equal(open_source(path, channel=1).read(WHOLE), VOXELS[::-1])
    with pytest.raises(VolumeError, match="2 channels"):
        open_source(path)
    with pytest.raises(UsageError, match="channel 2"):
        open_source(path, channel=2)


def test_vectors_of_itk_are_channels_and_their_space_has_three_axes(tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray(np.stack([VOXELS, VOXELS + 1], -1), isVector=True)
    SimpleITK.WriteImage(image, tmp_path / "a.nrrd")
    source = open_source(tmp_path / "a.nrrd", channel=1)

    assert source.channels == 2
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS + 1)


def test_axes_of_one_sample_are_dropped(tmp_path: Path) -> None:
    path = by_hand(
        tmp_path / "a.nrrd", dimension=5, sizes="1 9 7 5 1", kinds="stub domain domain domain time"
    )

    np.testing.assert_array_equal(open_source(path).read(WHOLE), VOXELS)


@pytest.mark.parametrize("lines", [0, 2])
@pytest.mark.parametrize("skip", [0, 11, -1])
@pytest.mark.parametrize("detached", [False, True])
def test_lines_and_bytes_before_the_voxels_are_skipped(
    tmp_path: Path, lines: int, skip: int, detached: bool
) -> None:
    data = b"one\ntwo three\n"[: 14 * bool(lines)] + b"x" * max(skip, 0) + VOXELS.tobytes()
    fields = {"line_skip": lines, "byte_skip": skip}
    if detached:
        (tmp_path / "a.raw").write_bytes(b"anything" * (skip == -1) + data)
        path = by_hand(tmp_path / "a.nhdr", None, **fields, data_file="a.raw")
    else:
        path = by_hand(tmp_path / "a.nrrd", data, **fields)

    np.testing.assert_array_equal(open_source(path).read(WHOLE), VOXELS)


def test_bytes_are_skipped_after_unpacking_and_lines_before(tmp_path: Path) -> None:
    data = b"a line\n" + gzip.compress(b"12345" + VOXELS.tobytes())
    path = by_hand(tmp_path / "a.nrrd", data, encoding="gz", lineskip=1, byteskip=5)

    np.testing.assert_array_equal(open_source(path).read(WHOLE), VOXELS)


@pytest.mark.parametrize("names", ["LIST", "s%02d.raw 3 7 1", "s%02d.raw 3 7 1 2", "LIST 2"])
def test_planes_may_lie_in_files_of_their_own(tmp_path: Path, names: str) -> None:
    for z, plane in enumerate(VOXELS, 3):
        (tmp_path / f"s{z:02}.raw").write_bytes(b"head" + plane.tobytes())
    path = by_hand(tmp_path / "a.nhdr", None, byte_skip=4, data_file=names)
    if names.startswith("LIST"):
        path.write_text(path.read_text() + "\n".join(f"s{z:02}.raw" for z in range(3, 8)))
    source = open_source(path)

    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)
    assert source.description == "NRRD volume, uncompressed in 6 files"


def test_comments_free_keys_and_capitals_do_not_matter(tmp_path: Path) -> None:
    text = (
        "NRRD0005\r\n# sizes: 1 1 1\r\nType: Unsigned Short\r\nsizes:=7\r\nDIMENSION: 3\r\n"
        "sizes: 9 7 5\r\nendian: little\r\nencoding: RAW\r\nspacings:=nonsense\r\n\r\n"
    )
    (tmp_path / "a.nrrd").write_bytes(text.encode() + VOXELS.tobytes())

    np.testing.assert_array_equal(open_source(tmp_path / "a.nrrd").read(WHOLE), VOXELS)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no type": ({"type": None}, "no 'type'"),
    "no sizes": ({"sizes": None}, "no 'sizes'"),
    "no encoding": ({"encoding": None}, "no 'encoding'"),
    "no byte order": ({"endian": None}, "byte order"),
    "odd byte order": ({"endian": "middle"}, "'middle'"),
    "block": ({"type": "block"}, "type 'block'"),
    "text": ({"encoding": "ascii"}, "encoded as ascii"),
    "hex": ({"encoding": "hex"}, "encoded as hex"),
    "two axes": ({"dimension": 2, "sizes": "9 35"}, "no 'kinds'"),
    "four axes": ({"dimension": 4, "sizes": "9 7 5 1"}, "no 'kinds'"),
    "four of space": (
        {"dimension": 4, "sizes": "9 7 5 1", "kinds": "domain " * 4}, "4 axes of space"
    ),
    "time": (
        {"dimension": 4, "sizes": "3 3 7 5", "kinds": "time domain domain domain"},
        "time series of 3 frames",
    ),
    "colours": (
        {"dimension": 4, "sizes": "3 3 7 5", "kinds": "RGB-color domain domain domain"},
        "colour image",
    ),
    "complex": (
        {"dimension": 4, "sizes": "2 9 7 5", "kinds": "complex domain domain domain"},
        "kind 'complex'",
    ),
    "kinds too few": ({"kinds": "domain domain"}, "2 kinds"),
    "dimension": ({"dimension": 4}, "declares 4 axes, 3 sizes"),
    "zero": ({"sizes": "0 7 5"}, "no voxels"),
    "negative": ({"sizes": "-9 -7 5"}, "no voxels"),
    "too long": ({"sizes": "9 7 4"}, "goes on for 126 bytes"),
    "too short": ({"sizes": "9 7 6"}, "truncated"),
    "absurd": ({"sizes": "9999999999 9999999999 99999999"}, "truncated"),
    "not numbers": ({"sizes": "nine 7 5"}, "not a readable NRRD"),
    "skips back": ({"byte_skip": -2}, "leads nowhere"),
    "too many lines": ({"line_skip": 10**9}, "lines of text"),
    "from the end, short": ({"sizes": "9 7 9", "byte_skip": -1}, "truncated"),
    "packed from the end": ({"encoding": "gzip", "byte_skip": -1}, "leads nowhere"),
    "packed, absurd": ({"encoding": "gzip", "sizes": "9 7 50000"}, "cannot unpack"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_grey_volume_is_refused_by_name(tmp_path: Path, case: str) -> None:
    fields, said = REFUSED[case]
    with pytest.raises(VolumeError, match=said) as caught:
        open_source(by_hand(tmp_path / "a.nrrd", **fields))
    assert "a.nrrd" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "a.nrrd")
    path.write_bytes(path.read_bytes().replace(b"NRRD0004", b"NRRD0009", 1))

    with pytest.raises(VolumeError, match="version"):
        open_source(path)


@pytest.mark.parametrize(
    "name",
    [
        "../a.raw",
        "/etc/passwd",
        "sub/../../a.raw",
        "sub/../b.raw",
        "C:\\a.raw",
        "\\\\host\\a.raw",
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
        open_source(by_hand(tmp_path / "in" / "a.nhdr", None, data_file=name))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("none.raw", "no such file"),
        ("s%d.raw 1 5 0", "stands for 0 files"),
        ("s%d.raw 1 999999999999 1", "stands for 999999999999 files"),
        ("LIST\n" + "a.raw\n" * 9, "lists 9 data files"),
        ("LIST\na.raw\na.raw\n", "cannot share 5 planes"),
    ],
)
def test_data_files_that_make_no_volume_are_refused(tmp_path: Path, names: str, said: str) -> None:
    (tmp_path / "a.raw").write_bytes(VOXELS.tobytes())

    with pytest.raises(VolumeError, match=said):
        open_source(by_hand(tmp_path / "a.nhdr", None, data_file=names))


def test_packed_planes_in_files_of_their_own_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(gzip.compress(VOXELS.tobytes()))
    path = by_hand(tmp_path / "a.nhdr", None, encoding="gzip", data_file="LIST\n" + "a.raw\n" * 5)

    with pytest.raises(VolumeError, match="spreads gzip voxels over 5 files"):
        open_source(path)


def test_a_header_without_end_is_refused_early(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\n" + b"key:=value\n" * 200_000)

    with pytest.raises(VolumeError, match="header does not end"):
        open_source(tmp_path / "a.nrrd")


def test_pynrrd_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.nrrd")
    monkeypatch.setitem(sys.modules, "nrrd", None)

    with pytest.raises(VolumeError, match=r"needs pynrrd.*pip install 'neuroconn\[formats\]'"):
        open_source(path)


def test_opening_unpacks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from neuroconn.volume.sources.raster import unpack

    path = written(tmp_path / "a.nrrd", encoding="gzip")
    monkeypatch.setattr(unpack.Packed, "__call__", lambda *_: pytest.fail("unpacked"))

    assert open_source(path).shape == SHAPE
