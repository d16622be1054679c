import logging
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.errors import VolumeError
from neuroconn.geometry import Box, Frame, Level
from neuroconn.volume import create_image, open_source, write_region
from neuroconn.volume.sources.slices import ordered_slices

SHAPE = (5, 33, 29)
VOXELS = np.random.default_rng(0).integers(0, 60000, SHAPE).astype(np.uint16)
LAYOUTS: list[dict[str, Any]] = [
    {},
    {"bigtiff": True},
    {"byteorder": ">"},
    {"rowsperstrip": 4},
    {"compression": "zlib", "rowsperstrip": 3, "predictor": True},
    {"compression": "zlib", "byteorder": ">", "predictor": True},
    {"compression": "lzw"},
    {"compression": "zstd", "tile": (16, 16)},
    {"tile": (16, 32)},
    {"imagej": True, "metadata": {"axes": "ZYX"}},
    {"ome": True, "metadata": {"axes": "ZYX"}},
]


def stack(path: Path, voxels: Any = VOXELS, **layout: Any) -> Path:
    tifffile.imwrite(path, voxels, **{"photometric": "minisblack", **layout})
    return path


def slices(folder: Path, names: list[str], **layout: Any) -> Path:
    folder.mkdir()
    for name, plane in zip(names, VOXELS, strict=False):
        stack(folder / name, plane, **layout)
    return folder


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_any_window_of_any_layout_is_read(tmp_path: Path, layout: dict[str, Any]) -> None:
    source = open_source(stack(tmp_path / "a.tif", **layout))

    assert source.shape == SHAPE
    assert source.dtype == np.uint16
    assert source.dtype.isnative
    for box in (Box.of_shape(SHAPE), Box((1, 5, 7), (4, 31, 22)), Box((4, 32, 28), SHAPE)):
        read = source.read(box)
        assert read.dtype.isnative
        np.testing.assert_array_equal(read, VOXELS[box.slices])


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_window_is_a_crop_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = stack(tmp_path_factory.getbasetemp() / "window.tif", compression="zlib", tile=(16, 16))
    a = [data.draw(st.integers(0, n - 1)) for n in SHAPE]
    b = [data.draw(st.integers(k + 1, n)) for k, n in zip(a, SHAPE, strict=True)]
    box = Box((a[0], a[1], a[2]), (b[0], b[1], b[2]))

    np.testing.assert_array_equal(open_source(path).read(box), VOXELS[box.slices])


def test_only_the_strips_of_the_window_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neuroconn.volume.sources import tiff_pages

    source = open_source(stack(tmp_path / "a.tif", compression="zlib", rowsperstrip=8))
    decoded = []
    decode = tiff_pages._decode

    def counted(plane: Any, descriptor: int, number: int) -> Any:
        decoded.append((plane.number, number))
        return decode(plane, descriptor, number)

    monkeypatch.setattr(tiff_pages, "_decode", counted)
    source.read(Box((1, 8, 3), (3, 24, 5)))

    assert source.unit == (1, 8, 29)
    assert decoded == [(1, 1), (1, 2), (2, 1), (2, 2)]


@pytest.mark.parametrize("layout", [{}, {"compression": "zlib"}, {"byteorder": ">"}], ids=str)
def test_a_folder_of_slices_is_read_in_the_order_of_their_numbers(
    tmp_path: Path, layout: dict[str, Any]
) -> None:
    names = [f"brain2_z{k}.tif" for k in range(8, 13)]
    folder = slices(tmp_path / "s", names, **layout)
    (folder / "readme.txt").write_text("not a slice")
    (folder / ".hidden.tif").write_text("not a slice")

    source = open_source(folder)

    np.testing.assert_array_equal(source.read(Box.of_shape(SHAPE)), VOXELS)
    assert source.identity.files == 5


def test_content_decides_before_the_extension(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif").rename(tmp_path / "a.dat")

    assert open_source(path).shape == SHAPE


def test_a_folder_with_one_stack_is_that_stack(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    stack(tmp_path / "s" / "a.tif")

    assert open_source(tmp_path / "s").shape == SHAPE


def test_imagej_beyond_its_page_list_is_read_from_the_contiguous_block(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif", imagej=True, metadata={"axes": "ZYX"})
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[0]
        next_page = page.offset + 2 + 12 * struct.unpack_from("<H", data, page.offset)[0]
        order = "<" if tif.byteorder == "<" else ">"
        count = struct.unpack_from(f"{order}H", data, page.offset)[0]
        next_page = page.offset + 2 + 12 * count
    struct.pack_into(f"{order}I", data, next_page, 0)
    path.write_bytes(data)

    source = open_source(path)

    np.testing.assert_array_equal(source.read(Box.of_shape(SHAPE)), VOXELS)


def test_an_image_is_a_source_too(tmp_path: Path) -> None:
    image = create_image(
        tmp_path / "a", levels=[Level(SHAPE, (1, 1, 1), (1, 1, 1))], dtype="uint16",
        frame=Frame((2.0, 1.0, 1.0)), chunk=8, shard=16, kind="brain",
    )  # fmt: skip
    write_region(image.array(0), Box.of_shape(SHAPE), VOXELS)

    source = open_source(tmp_path / "a")

    np.testing.assert_array_equal(source.read(Box.of_shape(SHAPE)), VOXELS)
    assert source.spacing_um == (2.0, 1.0, 1.0)


OME = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 400,
       "PhysicalSizeYUnit": "nm", "PhysicalSizeZ": 0.002, "PhysicalSizeZUnit": "mm"}  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "spacing"),
    [
        ({"ome": True, "metadata": OME}, (2.0, 0.4, 0.5)),
        ({"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.5}}, None),
        (
            {"imagej": True, "resolution": (2, 4),
             "metadata": {"axes": "ZYX", "spacing": 3.0, "unit": "um"}},
            (3.0, 0.25, 0.5),
        ),
        (
            {"imagej": True, "resolution": (2, 4),
             "metadata": {"axes": "ZYX", "spacing": 3.0, "unit": "pixel"}},
            None,
        ),
        ({"imagej": True, "metadata": {"axes": "ZYX"}}, None),
        ({"resolution": (300, 300)}, None),
    ],
    ids=["ome", "ome-partial", "imagej", "imagej-pixel", "imagej-none", "dpi"],
)  # fmt: skip
def test_spacing_is_taken_from_ome_and_imagej_in_micrometres(
    tmp_path: Path, layout: dict[str, Any], spacing: tuple[float, ...] | None
) -> None:
    found = open_source(stack(tmp_path / "a.tif", **layout)).spacing_um

    assert found == (None if spacing is None else pytest.approx(spacing))


def read_all(path: Path) -> None:
    source = open_source(path)
    source.read(Box.of_shape(source.shape))


def refuse(path: Path, reason: str) -> None:
    with pytest.raises(VolumeError, match=reason) as caught:
        read_all(path)
    assert "\n" not in str(caught.value)


def test_missing_and_empty_sources_are_named(tmp_path: Path) -> None:
    refuse(tmp_path / "none", "no source at")
    (tmp_path / "empty.tif").touch()
    refuse(tmp_path / "empty.tif", "is empty")
    (tmp_path / "folder").mkdir()
    refuse(tmp_path / "folder", "holds no files")
    (tmp_path / "folder" / "notes.txt").write_text("x")
    refuse(tmp_path / "folder", "no TIFF slice")
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))
    refuse(tmp_path / "a.h5", "HDF5")
    (tmp_path / "a.tif").write_bytes(b"\x89PNG" + bytes(50))
    refuse(tmp_path / "a.tif", "PNG")
    (tmp_path / "b.tif").write_bytes(b"hello, world")
    refuse(tmp_path / "b.tif", "not a TIFF file")


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [("int16", "32768"), ("float32", "scale the range"), ("uint32", "scale"), ("int8", "128")],
)
def test_other_voxel_types_are_refused_with_the_mapping_they_need(
    tmp_path: Path, dtype: str, advice: str
) -> None:
    refuse(stack(tmp_path / "a.tif", VOXELS.astype(dtype)), f"{dtype} voxels.*{advice}")


@pytest.mark.parametrize(
    ("shape", "layout", "reason"),
    [
        ((8, 9, 3), {"photometric": "rgb"}, "colour"),
        ((4, 8, 9, 3), {"photometric": "rgb"}, "one grey"),
        ((3, 4, 8, 9), {"imagej": True, "metadata": {"axes": "TZYX"}}, "time series of 3"),
        ((4, 2, 8, 9), {"imagej": True, "metadata": {"axes": "ZCYX"}}, "2 channels"),
        ((2, 4, 8, 9), {"ome": True, "metadata": {"axes": "CZYX"}}, "2 channels"),
        ((3, 4, 8, 9), {"ome": True, "metadata": {"axes": "TZYX"}}, "time series of 3"),
        ((3, 4, 8, 9), {}, "one grey"),
        ((4, 8, 9), {"photometric": "miniswhite"}, "white as 0"),
    ],
    ids=["rgb", "rgb-stack", "ij-t", "ij-c", "ome-c", "ome-t", "4d", "white"],
)
def test_what_is_not_one_grey_volume_is_refused(
    tmp_path: Path, shape: tuple[int, ...], layout: dict[str, Any], reason: str
) -> None:
    refuse(stack(tmp_path / "a.tif", np.ones(shape, np.uint8), **layout), reason)


@pytest.mark.parametrize("layout", [LAYOUTS[0], LAYOUTS[4], LAYOUTS[9], LAYOUTS[10]], ids=str)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.95, 0.98])
def test_a_truncated_file_is_refused_before_it_is_read_and_its_log_stays_quiet(
    tmp_path: Path, layout: dict[str, Any], part: float, caplog: pytest.LogCaptureFixture
) -> None:
    path = stack(tmp_path / "a.tif", **layout)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])

    with caplog.at_level(logging.WARNING), pytest.raises(VolumeError, match=str(path)):
        open_source(path)

    assert not caplog.records


def test_fewer_pages_than_declared_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        text = '{"shape": [5, 33, 29]}'
        for plane in VOXELS[:3]:
            writer.write(plane, description=text, metadata=None, contiguous=False)

    refuse(path, "declares 5 planes and holds 3")


def test_a_damaged_strip_is_named_with_its_page(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif", compression="zlib")
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[3].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[offset + 2 : offset + 40] = bytes(38)
    path.write_bytes(data)

    refuse(path, "page 3 is damaged")


def test_a_file_cut_after_opening_is_noticed(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif")
    source = open_source(path)
    path.write_bytes(path.read_bytes()[:2000])

    with pytest.raises(VolumeError, match="ended early"):
        source.read(Box.of_shape(SHAPE))


def test_a_missing_decoder_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stack(tmp_path / "a.tif", compression="lzw")
    monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", {1: None})

    refuse(path, r"LZW.*pip install 'neuroconn\[tiff\]'")


def test_planes_that_differ_are_refused_by_name(tmp_path: Path) -> None:
    folder = slices(tmp_path / "s", [f"z{k}.tif" for k in range(4)])
    stack(folder / "z2.tif", VOXELS[0, :20])
    refuse(folder, "z2.tif is .*alike")
    stack(folder / "z2.tif", VOXELS[0].astype(np.uint8))
    refuse(folder, "z2.tif is .*uint8.*alike")
    stack(folder / "z2.tif", VOXELS[:2])
    refuse(folder, "z2.tif has 2 pages")
    (folder / "z2.tif").write_bytes(b"")
    refuse(folder, "z2.tif is empty")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["z1.tif", "z2.tif", "z4.tif"], "slice 3 is missing between"),
        (["z000.tif", "z010.tif", "z030.tif"], "slice 20 is missing"),
        (["z1.tif", "z01.tif"], "same slice number"),
        (["z1.tif", "z2.tif", "z02.tif"], "same slice number"),
        (["z1.tif", "z2.tif", "mask1.tif"], "mask1.tif is named unlike"),
        (["z1_c1.tif", "z1_c2.tif", "z2_c1.tif"], "cannot be ordered"),
    ],
)
def test_a_sequence_with_holes_doubles_or_strangers_is_refused(
    tmp_path: Path, names: list[str], reason: str
) -> None:
    refuse(slices(tmp_path / "s", names), reason)


@settings(max_examples=30, deadline=None)
@given(
    first=st.integers(0, 120),
    step=st.sampled_from([1, 2, 10]),
    count=st.integers(1, 30),
    pad=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_a_whole_sequence_is_ordered_whatever_its_padding(
    first: int, step: int, count: int, pad: int, seed: int
) -> None:
    files = [Path(f"b3_{first + k * step:0{pad}d}_x.tif") for k in range(count)]
    mixed = [files[k] for k in np.random.default_rng(seed).permutation(count)]

    assert ordered_slices(mixed) == files


def test_identity_names_what_changed(tmp_path: Path) -> None:
    before = open_source(stack(tmp_path / "a.tif")).identity
    same = open_source(stack(tmp_path / "a.tif")).identity
    after = open_source(stack(tmp_path / "a.tif", VOXELS + np.uint16(1))).identity

    recorded = {k: getattr(before, k) for k in ("name", "files", "bytes", "layout", "sample")}
    assert same.difference(recorded) is None
    assert "sample was" in str(after.difference(recorded))
