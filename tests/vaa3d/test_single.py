"""Volumes in one file, with their record beside them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from neuroconn.errors import OutputError, StorageError, UsageError
from neuroconn.geometry import Box
from neuroconn.vaa3d import single, tiles
from neuroconn.vaa3d.single import write_single
from neuroconn.vaa3d.v3draw import open_v3draw
from neuroconn.volume.sources import open_source

VOLUME = np.random.default_rng(0).integers(0, 32767, (9, 8, 7), dtype=np.uint16)
COLOUR = np.random.default_rng(0).integers(0, 255, (9, 8, 7, 3), dtype=np.uint8)


def write(path: Path, volume: NDArray[Any] = VOLUME, **options: Any) -> bool:
    kind = "v3draw" if path.suffix == ".v3draw" else "tiff"
    return write_single(
        lambda box: volume[box.slices],
        path,
        format=kind,
        shape=(9, 8, 7),
        dtype=volume.dtype.name,
        colour=volume.ndim == 4,
        identity={"format": kind, "clip": 6, **options.pop("identity", {})},
        **options,
    )


@pytest.mark.parametrize("depth", [1, 4, 100])
def test_any_slab_depth_gives_the_same_file(depth: int, tmp_path: Path) -> None:
    for name in ("a.v3draw", "a.tif"):
        write(tmp_path / name, depth=9)
        write(tmp_path / f"b{name}", depth=depth)
        assert (tmp_path / name).read_bytes() == (tmp_path / f"b{name}").read_bytes()

    np.testing.assert_array_equal(open_v3draw(tmp_path / "a.v3draw")[0], VOLUME)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), VOLUME)


@pytest.mark.parametrize("volume", [VOLUME, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("room", [500, 200, 60, 1])
@pytest.mark.parametrize("name", ["a.v3draw", "a.tif"])
def test_little_memory_gives_the_same_file(
    name: str, room: int, volume: NDArray[Any], tmp_path: Path
) -> None:
    """Boxes of whole planes, of rows, of a few voxels."""
    seen: list[tuple[int, int]] = []
    write(tmp_path / name, volume)

    write(
        tmp_path / f"b{name}", volume, depth=4, box_voxels=room,
        progress=lambda *state: seen.append(state),
    )  # fmt: skip

    assert (tmp_path / name).read_bytes() == (tmp_path / f"b{name}").read_bytes()
    assert seen == [(4, 9), (8, 9), (9, 9)]
    assert len(list(tmp_path.iterdir())) == 4


def test_each_chunk_of_the_source_is_read_once(tmp_path: Path) -> None:
    """The volume begins 3 planes into a chunk of 4."""
    read: list[tuple[int, int]] = []

    def planes(box: Box) -> NDArray[Any]:
        read.append((box.start[0] + 3, box.stop[0] + 3))
        return VOLUME[box.slices]

    write_single(
        planes, tmp_path / "a.tif", format="tiff", shape=(9, 8, 7), dtype="uint16", depth=4,
        start=(3, 0, 0), identity={"format": "tiff"},
    )  # fmt: skip

    assert read == [(3, 4), (4, 8), (8, 12)]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), VOLUME)


def test_colour_is_planar_in_v3draw_and_interleaved_in_tiff(tmp_path: Path) -> None:
    write(tmp_path / "a.v3draw", COLOUR, depth=2)
    write(tmp_path / "a.tif", COLOUR, depth=2)

    np.testing.assert_array_equal(open_v3draw(tmp_path / "a.v3draw"), np.moveaxis(COLOUR, -1, 0))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), COLOUR)


def test_a_finished_file_is_left_alone(tmp_path: Path) -> None:
    assert write(tmp_path / "a.tif") is True
    before = (tmp_path / "a.tif").stat().st_mtime_ns

    assert write(tmp_path / "a.tif") is False

    assert (tmp_path / "a.tif").stat().st_mtime_ns == before
    assert json.loads((tmp_path / "a.tif.json").read_text()) == {"format": "tiff", "clip": 6}
    with pytest.raises(OutputError, match="other clip"):
        write(tmp_path / "a.tif", identity={"clip": 10})


def test_an_interrupted_file_begins_again_and_was_never_seen(tmp_path: Path) -> None:
    def killed(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.v3draw", depth=4, progress=killed)
    assert not list(tmp_path.iterdir())

    write(tmp_path / "a.v3draw", identity={"clip": 10})

    np.testing.assert_array_equal(open_v3draw(tmp_path / "a.v3draw")[0], VOLUME)
    assert {p.name for p in tmp_path.iterdir()} == {"a.v3draw", "a.v3draw.json"}


@pytest.mark.parametrize("foreign", ["a.tif", "a.tif.json"])
def test_foreign_files_are_never_overwritten(foreign: str, tmp_path: Path) -> None:
    (tmp_path / foreign).write_text("mine")

    with pytest.raises(OutputError, match="not an export of ours"):
        write(tmp_path / "a.tif")

    assert (tmp_path / foreign).read_text() == "mine"


def test_a_tiff_says_voxel_size_and_origin_as_imagej_does(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", spacing_um=(2.0, 1.0, 0.35), origin_um=(100.0, 0.0, 7.0))

    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.is_imagej
        assert (tif.series[0].axes, tif.series[0].shape) == ("ZYX", VOLUME.shape)
        known = tif.imagej_metadata
        tags = tif.pages[0].tags
        x, y = (tags[name].value for name in ("XResolution", "YResolution"))
    assert known is not None
    assert (known["slices"], known["spacing"], known["unit"]) == (9, 2.0, "micron")
    # ImageJ names the voxel at 0, not what lies at voxel 0.
    assert (known["zorigin"], known["xorigin"]) == (-50, -20)
    assert "yorigin" not in known
    assert (x[1] / x[0], y[1] / y[0]) == pytest.approx((0.35, 1.0))
    assert open_source(tmp_path / "a.tif").spacing_um == pytest.approx((2.0, 1.0, 0.35))


def test_a_file_of_unknown_voxel_size_says_none(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", origin_um=(5.0, 5.0, 5.0))

    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.imagej_metadata is not None
        assert {"spacing", "unit", "zorigin"}.isdisjoint(tif.imagej_metadata)
    assert open_source(tmp_path / "a.tif").spacing_um is None


def test_pages_too_large_to_pack_at_once_are_cut_into_strips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "STRIP_BYTES", 3 * 7 * 2)

    write(tmp_path / "a.tif", compression="zlib")

    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert {page.tags["RowsPerStrip"].value for page in tif.pages} == {3}
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), VOLUME)


@pytest.mark.parametrize("compression", ["none", "zlib", "lzw"])
def test_offsets_grow_to_64_bits_before_they_overflow(
    compression: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("imagecodecs")
    write(tmp_path / "a.tif", compression=compression)
    size = (tmp_path / "a.tif").stat().st_size
    monkeypatch.setattr(single, "CLASSIC_BYTES", size)

    write(tmp_path / "b.tif", compression=compression)

    magic = [(tmp_path / name).read_bytes()[:4] for name in ("a.tif", "b.tif")]
    assert magic == [b"II*\0", b"II+\0"]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), VOLUME)


@pytest.mark.parametrize("name", ["a.v3draw", "a.tif"])
@pytest.mark.parametrize("room", [10_000, 60])
def test_a_full_disk_leaves_nothing_behind(name: str, room: int, tmp_path: Path) -> None:
    def full(done: int, total: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left"):
        write(tmp_path / name, depth=4, box_voxels=room, progress=full)

    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".a.tif.partial").write_bytes(b"half a page")
    (tmp_path / ".a.tif.json.partial").write_bytes(b"{")

    assert write(tmp_path / "a.tif")

    assert {p.name for p in tmp_path.iterdir()} == {"a.tif", "a.tif.json"}


@pytest.mark.parametrize(
    ("name", "format", "words"),
    [
        ("a.tif", "v3draw", r"call it \*\.v3draw"),
        ("a.v3draw", "tiff", r"call it \*\.tif"),
        ("a", "tiff", r"call it \*\.tif"),
        ("x" * 250 + ".tif", "tiff", "its name takes 254 bytes"),
        ("/".join(["y" * 99] * 11) + ".tif", "tiff", "reads fewer than 1024"),
    ],
)
def test_names_that_vaa3d_cannot_open_are_refused(
    name: str, format: Any, words: str, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=words):
        write_single(
            lambda box: VOLUME[box.slices],
            tmp_path / name,
            format=format,
            shape=(9, 8, 7),
            dtype="uint16",
            identity={"format": format},
        )

    assert not list(tmp_path.iterdir())


def test_a_dtype_that_neither_holds_is_refused(tmp_path: Path) -> None:
    for name in ("a.v3draw", "a.tif"):
        with pytest.raises(UsageError, match="int16"):
            write(tmp_path / name, VOLUME.astype(np.int16))
    assert not list(tmp_path.iterdir())


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.tif").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        write(tmp_path / "a.tif")


def test_progress_counts_planes(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    write(tmp_path / "a.tif", depth=4, progress=lambda *state: seen.append(state))

    assert seen == [(4, 9), (8, 9), (9, 9)]
