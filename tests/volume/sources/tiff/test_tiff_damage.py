"""Damaged TIFF files: one line that names the file, or the right voxels; never anything else."""

import hashlib
import logging
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.volume import open_source
from neuroconn.volume.sources.damage import salvage
from neuroconn.volume.sources.tiff import ifd as tiff_ifd

SHAPE = (5, 33, 29)
VOXELS = np.random.default_rng(0).integers(0, 60000, SHAPE).astype(np.uint16)
PAIR = np.stack([VOXELS, VOXELS[::-1]], axis=1)
LAYOUTS: dict[str, dict[str, Any]] = {
    "raw": {},
    "big": {"bigtiff": True, "byteorder": ">"},
    "strips": {"rowsperstrip": 4},
    "zlib": {"compression": "zlib", "rowsperstrip": 3, "predictor": True},
    "lzw": {"compression": "lzw", "rowsperstrip": 10},
    "packbits": {"compression": "packbits", "byteorder": ">"},
    "zstd": {"compression": "zstd", "tile": (16, 16)},
    "tiles": {"tile": (16, 32)},
    "jpeg2000": {"compression": "jpeg2000"},
    "bits": {"bitspersample": 12},
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX", "spacing": 2, "unit": "um"}},
    "ome": {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeZ": 2.0}},
}
CHECKED = ("zlib",)
"""Layouts with a checksum over the voxels."""


def stack(path: Path, voxels: Any = VOXELS, **layout: Any) -> Path:
    if "bitspersample" in layout:
        voxels = voxels & 4095
    tifffile.imwrite(path, voxels, **{"photometric": "minisblack", **layout})
    return path


def outcome(path: Path, **choice: Any) -> Any:
    """The voxels, or the one line of the error."""
    try:
        return read_all(path, **choice)
    except (VolumeError, UsageError) as error:
        return str(error)


def read_all(path: Path, **choice: Any) -> Any:
    source = open_source(path, **choice)
    assert source.read(Box.of_shape((1, 1, 1))).shape == (1, 1, 1)
    if np.prod([float(n) for n in source.shape]) > 1e7:
        return source.read(Box.of_shape((1, 1, 1)))
    return source.read(Box.of_shape(source.shape))


def refuse(path: Path, reason: str) -> None:
    with pytest.raises(VolumeError, match=reason) as caught:
        read_all(path)
    assert "\n" not in str(caught.value)


def first_data(path: Path) -> int:
    with tifffile.TiffFile(path) as tif:
        return min(min(page.dataoffsets) for page in tif.pages)


def spans(path: Path) -> list[tuple[int, int]]:
    """Where the voxels lie: begin and end of every segment."""
    with tifffile.TiffFile(path) as tif:
        return [
            (a, a + n)
            for page in tif.pages
            for a, n in zip(page.dataoffsets, page.databytecounts, strict=True)
        ]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("part", [0.001, 0.02, 0.3, 0.6, 0.95, 0.98])
def test_a_truncated_file_is_refused_before_it_is_read_and_its_log_stays_quiet(
    tmp_path: Path, layout: dict[str, Any], part: float, caplog: pytest.LogCaptureFixture
) -> None:
    path = stack(tmp_path / "a.tif", **layout)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])

    with caplog.at_level(logging.WARNING), pytest.raises(VolumeError, match=str(path)):
        open_source(path)

    assert not caplog.records


def flipped(data: bytearray, random: np.random.Generator, where: Callable[[int], bool]) -> None:
    places = [k for k in range(len(data)) if where(k)]
    for _ in range(int(random.integers(1, 4))):
        data[places[random.integers(len(places))]] ^= 1 << int(random.integers(8))


def overwritten(data: bytearray, random: np.random.Generator, where: Callable[[int], bool]) -> None:
    places = [k for k in range(len(data)) if where(k)]
    at, size = places[random.integers(len(places))], int(random.integers(1, 9))
    junk = [bytes(size), b"\xff" * size, random.bytes(size)][random.integers(3)]
    data[at : at + size] = junk[: len(data) - at]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_mutated_file_is_refused_or_read_and_nothing_else(
    tmp_path: Path, name: str, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    random = np.random.default_rng([seed, zlib.crc32(name.encode())])
    path = stack(tmp_path / "a.tif", **LAYOUTS[name])
    truth, lying = tifffile.imread(path), spans(path)
    whole = path.read_bytes()
    for _ in range(6):
        data, of_voxels = bytearray(whole), bool(random.integers(2))

        def wanted(k: int, of_voxels: bool = of_voxels) -> bool:
            return any(a <= k < b for a, b in lying) == of_voxels

        [flipped, overwritten][random.integers(2)](data, random, wanted)
        path.write_bytes(data)
        checksum = hashlib.sha256(path.read_bytes()).digest()
        read = outcome(path)
        if isinstance(read, str):
            assert "\n" not in read
            assert "a.tif" in read
        elif of_voxels and name in CHECKED:
            np.testing.assert_array_equal(read, truth)
        assert hashlib.sha256(path.read_bytes()).digest() == checksum
    assert not [r for r in caplog.records if r.name == "tifffile"]


@pytest.mark.parametrize("seed", range(20))
def test_mutated_descriptions_are_refused_or_read(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    kind = ("ome", "imagej")[seed % 2]
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, PAIR, photometric="minisblack", **{kind: True}, metadata={"axes": "ZCYX"}
    )
    with tiff_ifd.tiff_bytes(path) as file:
        text = next(file.directories()).descriptions()[0].encode()
    data = path.read_bytes()
    at = data.index(text)
    for _ in range(10):
        words = [
            b'"',
            b"<",
            b"/>",
            b"9999999999",
            b"-1",
            b"\x00",
            b"\xff",
            b"1e9",
            b"Z",
            b"\n",
            b"=",
        ]
        k, word = int(random.integers(len(text))), words[random.integers(len(words))]
        path.write_bytes(data[: at + k] + word + data[at + k + len(word) :])
        read = outcome(path, channel=1)
        assert "\n" not in read if isinstance(read, str) else read.ndim == 3


@pytest.mark.parametrize(
    ("name", "where"),
    [("zlib", "strip 5"), ("zstd", "tile 5"), ("jpeg2000", "strip 0"), ("lzw", "strip 2")],
)
def test_a_damaged_segment_is_named_with_its_page_and_what_is_around_it_is_read(
    tmp_path: Path, name: str, where: str
) -> None:
    path = stack(tmp_path / "a.tif", **LAYOUTS[name])
    with tifffile.TiffFile(path) as tif:
        number = int(where.split()[1])
        begin, size = tif.pages[3].dataoffsets[number], tif.pages[3].databytecounts[number]
    data = bytearray(path.read_bytes())
    data[begin : begin + size] = b"\xff" * size
    path.write_bytes(data)

    refuse(path, f"a.tif page 3 is damaged: {where} cannot be decoded")
    source = open_source(path)
    voxels, (only,) = salvage(source, Box.of_shape(SHAPE))
    wrong = np.zeros(SHAPE, bool)
    wrong[Box(only.start, only.stop).slices] = True
    assert tuple(b - a for a, b in zip(only.start, only.stop, strict=True)) <= source.unit
    np.testing.assert_array_equal(voxels[~wrong], VOXELS[~wrong])


def test_a_strip_that_decodes_to_too_little_is_named(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif", compression="lzw", rowsperstrip=33)
    other = stack(tmp_path / "b.tif", VOXELS[:, :20], compression="lzw")
    with tifffile.TiffFile(path) as tif, tifffile.TiffFile(other) as short:
        begin, encoded = tif.pages[1].dataoffsets[0], short.pages[1]
        shorter = other.read_bytes()[encoded.dataoffsets[0] :][: encoded.databytecounts[0]]
    data = bytearray(path.read_bytes())
    data[begin : begin + len(shorter)] = shorter
    path.write_bytes(data)

    refuse(path, r"page 1 is damaged: strip 0 .*decodes to 1160 of 1914 bytes")


def edited(path: Path, tag: str, value: Any, page: int = 2) -> Path:
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[page].tags[tag].overwrite(value)
    return path


@pytest.mark.parametrize(
    ("tag", "value", "reason"),
    [
        ("StripOffsets", 2**31, "page 2 is truncated: its data should end"),
        ("StripByteCounts", 2**31, "page 2 is truncated"),
        ("StripByteCounts", 0, "page 2 lacks 1 of 1 segments"),
        ("StripByteCounts", 100, "page 2 is truncated: segment 0 has 100 bytes and takes 1914"),
        ("ImageLength", 2**31, "page 2 has 1 segments and 2147483648 x 29 voxels take 65075263"),
        ("ImageLength", 0, "page 2 has 0 x 29"),
        ("RowsPerStrip", 0, "page 2 is damaged: its segments are 0 rows"),
        ("RowsPerStrip", 11, "page 2 has 1 segments and 33 x 29 voxels take 3"),
        ("BitsPerSample", 0, "page 2 holds 0-bit"),
        ("BitsPerSample", 128, "page 2 holds 128-bit"),
        ("Compression", 4711, "page 2 is compressed with method 4711"),
        ("SamplesPerPixel", 60000, "page 2"),
        ("SampleFormat", 9, "page 2 holds 16-bit samples of TIFF format 9"),
        ("ImageWidth", 30, "page 2 is truncated|not alike"),
    ],
)
def test_tags_that_cannot_be_are_refused_when_the_file_is_opened(
    tmp_path: Path, tag: str, value: int, reason: str
) -> None:
    path = edited(stack(tmp_path / "a.tif", VOXELS.view(np.int16)), tag, value)

    with pytest.raises(VolumeError, match=reason):
        open_source(path)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits"])
def test_more_voxels_than_the_bytes_can_hold_are_refused_before_memory_is_taken(
    tmp_path: Path, compression: str
) -> None:
    path = stack(tmp_path / "a.tif", VOXELS[:1], compression=compression)
    edited(edited(path, "ImageLength", 50_000_000, 0), "RowsPerStrip", 50_000_000, 0)

    with pytest.raises(VolumeError, match="cannot hold"):
        open_source(path)
    edited(edited(path, "ImageWidth", 4_000_000_000, 0), "ImageLength", 4_000_000_000, 0)
    with pytest.raises(VolumeError, match=r"page 0|a\.tif"):
        open_source(path)


def test_a_chain_of_pages_that_runs_in_a_circle_is_refused(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif", contiguous=False)
    with tiff_ifd.tiff_bytes(path) as file:
        offsets = [directory.offset for directory in file.directories()]
    data = path.read_bytes()
    at = data.rindex(offsets[4].to_bytes(4, "little"))
    path.write_bytes(data[:at] + offsets[1].to_bytes(4, "little") + data[at + 4 :])

    refuse(path, "page 4 points back to an earlier page")


def test_fewer_pages_than_declared_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for k, plane in enumerate(VOXELS[:3]):
            text = '{"shape": [5, 33, 29]}' if k == 0 else None
            writer.write(
                plane, photometric="minisblack", description=text, metadata=None, contiguous=False
            )

    refuse(path, "declares 5 planes and holds 3")


def test_all_bad_pages_are_counted(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif", compression="zlib")
    for page in (1, 2, 4):
        edited(path, "StripByteCounts", 0, page)

    refuse(path, "3 of 5 pages of .*page 1 lacks.*page 2 lacks.*page 4 lacks")


@pytest.mark.parametrize("layout", [{}, {"compression": "zlib"}, {"tile": (16, 16)}], ids=str)
@pytest.mark.parametrize("kept", [0, 256])
def test_a_file_cut_or_rewritten_after_opening_is_noticed(
    tmp_path: Path, layout: dict[str, Any], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff_ifd, "KEPT", kept)
    path = stack(tmp_path / "a.tif", **layout)
    source = open_source(path)
    os.truncate(path, 2000)
    with pytest.raises(VolumeError, match=r"a\.tif has changed since it was opened"):
        source.read(Box.of_shape(SHAPE))

    # Cut between the check and the read.
    monkeypatch.setattr(
        "neuroconn.volume.sources.tiff.files.StoredFile.open", lambda f: os.open(f.path, 0)
    )
    with pytest.raises(VolumeError, match="ended early"):
        source.read(Box.of_shape(SHAPE))


@pytest.mark.parametrize("layout", [{}, {"compression": "zlib"}], ids=str)
def test_a_disk_that_fails_is_an_error_with_a_place(
    tmp_path: Path, layout: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> int:
        raise OSError(5, "Input/output error")

    source = open_source(stack(tmp_path / "a.tif", **layout))
    monkeypatch.setattr(os, "pread", fail)
    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(VolumeError, match=r"a\.tif.* cannot be read: .*Input/output error"):
        source.read(Box.of_shape(SHAPE))


def test_reads_that_come_in_pieces_are_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.preadv

    def some(descriptor: int, buffers: Any, offset: int) -> int:
        return whole(descriptor, [memoryview(buffers[0])[:100]], offset)

    source = open_source(stack(tmp_path / "a.tif"))
    monkeypatch.setattr(os, "preadv", some)
    np.testing.assert_array_equal(source.read(Box.of_shape(SHAPE)), VOXELS)
