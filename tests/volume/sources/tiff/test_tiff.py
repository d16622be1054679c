"""One TIFF file: every layout, type and claim that a library of others can write."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.volume import open_source
from neuroconn.volume.sources.tiff import ifd as tiff_ifd
from neuroconn.volume.sources.tiff import pages as tiff_pages
from neuroconn.volume.sources.tiff.plane import Plane

SHAPE = (5, 33, 29)
VOXELS = np.random.default_rng(0).integers(0, 60000, SHAPE).astype(np.uint16)
LAYOUTS: list[dict[str, Any]] = [
    {},
    {"bigtiff": True},
    {"byteorder": ">"},
    {"bigtiff": True, "byteorder": ">", "rowsperstrip": 7},
    {"rowsperstrip": 4},
    {"compression": "zlib", "rowsperstrip": 3, "predictor": True},
    {"compression": "zlib", "byteorder": ">", "predictor": True},
    {"compression": "lzw"},
    {"compression": "lzw", "rowsperstrip": 1, "byteorder": ">"},
    {"compression": "packbits", "rowsperstrip": 10},
    {"compression": "lzma"},
    {"compression": "jpeg2000"},
    {"compression": "zstd", "tile": (16, 16)},
    {"compression": "zlib", "tile": (48, 32), "predictor": True, "byteorder": ">"},
    {"tile": (16, 32)},
    {"tile": (16, 16), "byteorder": ">"},
    {"imagej": True, "metadata": {"axes": "ZYX"}},
    {"ome": True, "metadata": {"axes": "ZYX"}},
]


def stack(path: Path, voxels: Any = VOXELS, **layout: Any) -> Path:
    tifffile.imwrite(path, voxels, **{"photometric": "minisblack", **layout})
    return path


def refuse(path: Path, reason: str) -> str:
    with pytest.raises(VolumeError, match=reason) as caught:
        open_source(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_any_window_of_any_layout_is_read(tmp_path: Path, layout: dict[str, Any]) -> None:
    path = stack(tmp_path / "a.tif", **layout)
    before = path.read_bytes()
    source = open_source(path)

    assert source.shape == SHAPE
    assert source.dtype == np.uint16
    assert source.dtype.isnative
    for box in (Box.of_shape(SHAPE), Box((1, 5, 7), (4, 31, 22)), Box((4, 32, 28), SHAPE)):
        read = source.read(box)
        assert read.dtype.isnative
        np.testing.assert_array_equal(read, VOXELS[box.slices])
    assert path.read_bytes() == before


@pytest.mark.parametrize("kept", [0, 256])
@pytest.mark.parametrize("gap", [0, 20, 16384])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_window_is_a_crop_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, gap: int, kept: int, data: st.DataObject
) -> None:
    layout = data.draw(st.sampled_from(LAYOUTS))
    path = stack(tmp_path_factory.getbasetemp() / "window.tif", **layout)
    a = [data.draw(st.integers(0, n - 1)) for n in SHAPE]
    b = [data.draw(st.integers(k + 1, n)) for k, n in zip(a, SHAPE, strict=True)]
    box = Box((a[0], a[1], a[2]), (b[0], b[1], b[2]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiff_pages, "_GAP", gap)  # rows alone, or with what lies between them
        patch.setattr(tiff_pages, "_SCRATCH", 200)
        patch.setattr(tiff_pages, "_RUN", 4096)
        patch.setattr(tiff_ifd, "KEPT", kept)  # tables in memory, or left in the file
        np.testing.assert_array_equal(open_source(path).read(box), VOXELS[box.slices])


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    "how", [{}, {"compression": "zlib"}, {"compression": "lzw", "tile": (16, 16)}]
)
@pytest.mark.parametrize(
    "dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
)
def test_every_type_of_number_is_read_as_tifffile_reads_it(
    tmp_path: Path, dtype: str, how: dict[str, Any], order: Any
) -> None:
    path = stack(tmp_path / "a.tif", (VOXELS - 30000.0).astype(dtype), byteorder=order, **how)
    source = open_source(path)
    read = source.read(Box.of_shape(SHAPE))

    assert source.dtype == read.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read, tifffile.imread(path))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("dtype", "predictor"), [("f4", 3), ("f8", 3), ("f2", 3), ("i4", 2), ("u1", 2), ("i8", 2)]
)
def test_predictors_are_undone(tmp_path: Path, dtype: str, predictor: int, order: Any) -> None:
    path = stack(
        tmp_path / "a.tif", VOXELS.astype(dtype), byteorder=order, compression="zlib",
        predictor=predictor, rowsperstrip=10,
    )  # fmt: skip
    read = open_source(path).read(Box((1, 8, 3), (4, 32, 20)))

    np.testing.assert_array_equal(read, VOXELS.astype(dtype)[1:4, 8:32, 3:20])


@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12, 14, 20])
def test_packed_bits_are_unpacked(tmp_path: Path, bits: int) -> None:
    values = VOXELS.astype(np.uint32) & ((1 << bits) - 1)
    voxels = (
        values.astype(bool)
        if bits == 1
        else values.astype("u1" if bits <= 8 else "u2" if bits <= 16 else "u4")
    )
    how = {} if bits == 1 else {"bitspersample": bits}
    source = open_source(stack(tmp_path / "a.tif", voxels, **how))

    read = source.read(Box((1, 3, 5), (4, 30, 28)))
    assert read.dtype.kind == "u"
    np.testing.assert_array_equal(read, values[1:4, 3:30, 5:28])
    assert any(f"voxels of {bits} bits are unpacked" in note for note in source.notes)


def test_lossy_compression_reads_as_tifffile_reads_it(tmp_path: Path) -> None:
    smooth = (np.indices(SHAPE).sum(0) * 2).astype(np.uint8)
    for layout in ({"compression": "jpeg"}, {"compression": "jpeg", "tile": (16, 16)}):
        path = stack(tmp_path / "a.tif", smooth, **layout)
        read = open_source(path).read(Box.of_shape(SHAPE))
        np.testing.assert_array_equal(read, tifffile.imread(path))


def test_raw_voxels_cost_what_is_read_and_compressed_ones_a_segment(tmp_path: Path) -> None:
    units = [
        open_source(stack(tmp_path / "a.tif", **layout)).unit
        for layout in ({}, {"compression": "zlib", "rowsperstrip": 8}, {"compression": "lzw"},
                       {"compression": "zstd", "tile": (16, 32)}, {"tile": (16, 16)})
    ]  # fmt: skip
    wide = open_source(stack(tmp_path / "w.tif", np.zeros((2, 2, 3000), np.uint8)))

    assert units == [(1, 1, 29), (1, 8, 29), (1, 33, 29), (1, 16, 32), (1, 1, 16)]
    assert wide.unit == (1, 1, 1024)


@pytest.mark.parametrize("threads", [1, 3])
def test_only_the_strips_of_the_window_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    decoded = []
    decode = tiff_pages._decode

    def counted(plane: Plane, data: bytes, number: int, *rest: Any) -> None:
        decoded.append((plane.page, number))
        decode(plane, data, number, *rest)

    monkeypatch.setattr(tiff_pages, "_decode", counted)
    source = open_source(stack(tmp_path / "a.tif", compression="zlib", rowsperstrip=8))
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(source.read, [Box((z, 8, 3), (z + 1, 24, 5)) for z in (1, 2)]))

    assert sorted(decoded) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    np.testing.assert_array_equal(np.concatenate(parts), VOXELS[1:3, 8:24, 3:5])


@pytest.mark.parametrize("layout", [LAYOUTS[0], LAYOUTS[5], LAYOUTS[11], LAYOUTS[12]], ids=str)
def test_threads_read_what_one_reads(tmp_path: Path, layout: dict[str, Any]) -> None:
    source = open_source(stack(tmp_path / "a.tif", **layout))
    boxes = [Box((z % 5, 0, 0), (z % 5 + 1, 33, 29)) for z in range(40)]

    with ThreadPoolExecutor(4) as pool:
        for box, read in zip(boxes, pool.map(source.read, boxes), strict=True):
            np.testing.assert_array_equal(read, VOXELS[box.slices])


def test_a_strip_filled_up_beyond_the_last_row_is_read(tmp_path: Path) -> None:
    # Some writers give the last strip as many rows as the others.
    padded = np.zeros((1, 40, 29), np.uint16)
    padded[:, :33] = VOXELS[:1]
    path = stack(tmp_path / "a.tif", padded, compression="zlib", rowsperstrip=20)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["ImageLength"].overwrite(33)

    np.testing.assert_array_equal(open_source(path).read(Box.of_shape((1, 33, 29))), VOXELS[:1])


@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}], ids=str)
def test_a_window_may_end_where_the_file_ends(tmp_path: Path, layout: dict[str, Any]) -> None:
    path = stack(tmp_path / "a.tif", VOXELS[:1], **layout)
    box = Box((0, 3, 5), (1, 33, 20))
    with tifffile.TiffFile(path) as tif:
        end = tif.pages[0].dataoffsets[-1] + tif.pages[0].databytecounts[-1]

    assert path.stat().st_size == end
    np.testing.assert_array_equal(open_source(path).read(box), VOXELS[:1][box.slices])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_strips_may_lie_in_any_order(tmp_path: Path, compression: str | None) -> None:
    path = stack(tmp_path / "a.tif", VOXELS[:1], rowsperstrip=11, compression=compression)
    with tifffile.TiffFile(path, mode="r+") as tif:
        for name in ("StripOffsets", "StripByteCounts"):
            tag = tif.pages[0].tags[name]
            tag.overwrite(tag.value[::-1])
    turned = np.concatenate([VOXELS[:1, 22:], VOXELS[:1, 11:22], VOXELS[:1, :11]], axis=1)
    box = Box((0, 4, 3), (1, 30, 27))

    np.testing.assert_array_equal(open_source(path).read(box), turned[box.slices])


def test_imagej_beyond_its_page_list_is_read_from_the_contiguous_block(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif", imagej=True, metadata={"axes": "ZYX"})
    with tiff_ifd.tiff_bytes(path) as file:
        first, second = list(file.directories())[:2]
    data = path.read_bytes().replace(second.offset.to_bytes(4, "big"), bytes(4), 1)
    assert first.offset < data.index(b"ImageJ")
    path.write_bytes(data)

    source = open_source(path)

    np.testing.assert_array_equal(source.read(Box.of_shape(SHAPE)), VOXELS)


@pytest.mark.parametrize(
    ("shape", "layout", "reason"),
    [
        ((8, 9, 3), {"photometric": "rgb"}, "colour image .RGB, 3 samples"),
        ((4, 8, 9, 3), {"photometric": "rgb"}, "colour.*all 4 pages"),
        ((4, 8, 9), {"photometric": "palette", "colormap": np.zeros((3, 256), "u2")}, "colour tab"),
        ((3, 4, 8, 9), {"imagej": True, "metadata": {"axes": "TZYX"}}, "time series of 3"),
        ((3, 4, 8, 9), {"ome": True, "metadata": {"axes": "TZYX"}}, "time series of 3"),
        ((3, 4, 8, 9), {"metadata": {"axes": "TZYX"}}, "time series of 3"),
        ((3, 4, 8, 9), {}, r"shape \(3, 4, 8, 9\); a brain is one grey"),
        ((4, 8, 9), {"photometric": "miniswhite"}, "white as 0"),
        ((4, 8, 9), {"extratags": [(34412, 1, 4, b"abcd", True)]}, "Zeiss LSM"),
        ((4, 8, 16, 16), {"volumetric": True, "tile": (16, 16, 16)}, "deep|grey"),
    ],
    ids=["rgb", "rgb-stack", "palette", "ij-t", "ome-t", "t", "4d", "white", "lsm", "deep"],
)  # fmt: skip
def test_what_is_not_one_grey_volume_is_refused(
    tmp_path: Path, shape: tuple[int, ...], layout: dict[str, Any], reason: str
) -> None:
    refuse(stack(tmp_path / "a.tif", np.ones(shape, np.uint8), **layout), reason)


def test_complex_voxels_are_refused(tmp_path: Path) -> None:
    refuse(stack(tmp_path / "a.tif", VOXELS.astype("c8")), "complex")


def test_a_turned_image_is_noted_and_read_as_it_is(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif", extratags=[(274, "H", 1, 6, False)])
    source = open_source(path)

    np.testing.assert_array_equal(source.read(Box.of_shape(SHAPE)), VOXELS)
    assert any("orientation tag says 6" in note for note in source.notes)


@pytest.mark.parametrize(
    ("layout", "seen"),
    [({}, False), ({"compression": "lzw"}, False), ({"compression": "zlib"}, True)],
)
def test_voxels_without_a_checksum_are_said_to_have_none(
    tmp_path: Path, layout: dict[str, Any], seen: bool
) -> None:
    description = open_source(stack(tmp_path / "a.tif", **layout)).description

    assert description == "TIFF stack of 5 planes" + ("" if seen else ", no checksums")


def several(path: Path, *arrays: Any, **layout: Any) -> Path:
    with tifffile.TiffWriter(path) as writer:
        for array in arrays:
            writer.write(array, photometric="minisblack", **layout)
    return path


def test_pages_written_one_by_one_are_a_stack(tmp_path: Path) -> None:
    source = open_source(several(tmp_path / "a.tif", *VOXELS))

    np.testing.assert_array_equal(source.read(Box.of_shape(SHAPE)), VOXELS)


def test_several_series_are_listed_and_one_can_be_chosen(tmp_path: Path) -> None:
    path = several(tmp_path / "a.tif", VOXELS[:, :20], VOXELS)

    assert "0 (5 x 20 x 29 uint16), 1 (5 x 33 x 29 uint16)" in refuse(path, "2 series")
    np.testing.assert_array_equal(open_source(path, dataset="1").read(Box.of_shape(SHAPE)), VOXELS)
    with pytest.raises(UsageError, match="no series '2'"):
        open_source(path, dataset="2")
    refuse(several(tmp_path / "b.tif", VOXELS, VOXELS), "2 series")


def test_thumbnails_and_pyramids_are_left_out(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif", ome=True) as writer:
        grey = {"photometric": "minisblack", "compression": "zlib"}
        writer.write(VOXELS, subifds=1, metadata={"axes": "ZYX"}, **grey)
        writer.write(VOXELS[:, ::2, ::2], subfiletype=1, **grey)
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        writer.write(VOXELS, photometric="minisblack", contiguous=False)
        writer.write(np.zeros((8, 8, 3), np.uint8), photometric="rgb", subfiletype=1)
    for name in "ab":
        source = open_source(tmp_path / f"{name}.tif")
        np.testing.assert_array_equal(source.read(Box.of_shape(SHAPE)), VOXELS)
    assert any("1 pages are thumbnails" in note for note in source.notes)


def test_a_missing_decoder_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stack(tmp_path / "a.tif", compression="lzw")
    monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", {1: None})

    refuse(path, r"LZW.*pip install 'neuroconn\[tiff\]'")


def test_what_needs_no_imagecodecs_is_read_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stack(tmp_path / "a.tif", compression="zstd", predictor=True, tile=(16, 16))
    packed = stack(tmp_path / "b.tif", VOXELS & 4095, bitspersample=12)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)

    source = open_source(path)
    np.testing.assert_array_equal(source.read(Box.of_shape(SHAPE)), VOXELS)
    refuse(packed, "packs 12 bits a voxel, which needs imagecodecs")


def test_identity_tells_other_voxels_layouts_and_channels_apart(tmp_path: Path) -> None:
    before = open_source(stack(tmp_path / "a.tif")).identity
    same = open_source(stack(tmp_path / "a.tif")).identity
    others = [
        open_source(stack(tmp_path / "a.tif", VOXELS + np.uint16(1))),
        open_source(stack(tmp_path / "a.tif", rowsperstrip=4)),
        open_source(stack(tmp_path / "a.tif", byteorder=">")),
    ]
    pair = np.stack([VOXELS, VOXELS], axis=1)
    path = stack(tmp_path / "a.tif", pair, imagej=True, metadata={"axes": "ZCYX"})
    channels = [open_source(path, channel=c).identity.layout for c in (0, 1)]

    assert before == same
    assert before.bytes < (tmp_path / "a.tif").stat().st_size
    assert all(other.identity != before for other in others)
    assert channels[0] != channels[1]
