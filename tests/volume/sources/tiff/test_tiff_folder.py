"""A folder of TIFF slices or stacks: ordered, complete, alike, or refused by every name."""

import os
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
from neuroconn.volume.sources.tiff.slices import natural_key, ordered_slices, slice_channels

SHAPE = (12, 33, 29)
VOXELS = np.random.default_rng(0).integers(0, 60000, SHAPE).astype(np.uint16)


def write(path: Path, voxels: Any, **layout: Any) -> Path:
    tifffile.imwrite(path, voxels, **{"photometric": "minisblack", **layout})
    return path


def slices(folder: Path, names: list[str], **layout: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for name, plane in zip(names, VOXELS, strict=False):
        write(folder / name, plane, **layout)
    return folder


def read(path: Path, **choice: Any) -> Any:
    source = open_source(path, **choice)
    return source.read(Box.of_shape(source.shape))


def refuse(path: Path, reason: str) -> str:
    with pytest.raises(VolumeError, match=reason) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("layout", [{}, {"compression": "zlib"}, {"byteorder": ">"}], ids=str)
def test_slices_are_read_in_the_order_of_their_numbers(
    tmp_path: Path, layout: dict[str, Any]
) -> None:
    folder = slices(tmp_path / "s", [f"brain2_z{k}.tif" for k in range(5, 17)], **layout)
    (folder / "readme.txt").write_text("not a slice")
    (folder / ".hidden.tif").write_text("not a slice")
    source = open_source(folder)
    box = Box((2, 4, 5), (11, 30, 20))

    np.testing.assert_array_equal(source.read(Box.of_shape(SHAPE)), VOXELS)
    np.testing.assert_array_equal(source.read(box), VOXELS[box.slices])
    assert source.identity.files == 12


def test_slices_stored_in_different_ways_are_one_volume(tmp_path: Path) -> None:
    folder = slices(tmp_path / "s", [f"z{k:02}.tif" for k in range(12)])
    ways: list[dict[str, Any]] = [
        {"compression": "lzw"}, {"byteorder": ">", "bigtiff": True}, {"tile": (16, 16)},
    ]  # fmt: skip
    for k, way in enumerate(ways):
        write(folder / f"z0{k}.tif", VOXELS[k], **way)
    source = open_source(folder)

    np.testing.assert_array_equal(source.read(Box.of_shape(SHAPE)), VOXELS)
    assert source.unit == (1, 33, 29)
    assert any("compressed in 2 ways" in note for note in source.notes)


@pytest.mark.parametrize("cuts", [(4, 8), (5, 10), (2, 7)])
@pytest.mark.parametrize("layout", [{}, {"imagej": True, "metadata": {"axes": "ZYX"}}])
def test_stacks_follow_each_other_along_z(
    tmp_path: Path, cuts: tuple[int, ...], layout: dict[str, Any]
) -> None:
    for k, part in enumerate(np.split(VOXELS, cuts), start=9):
        write(tmp_path / f"block_{k}.tif", part, **layout)
    source = open_source(tmp_path)

    np.testing.assert_array_equal(source.read(Box.of_shape(SHAPE)), VOXELS)
    assert source.description == "3 TIFF stacks of 12 planes, no checksums"


def test_slices_among_stacks_are_refused(tmp_path: Path) -> None:
    folder = slices(tmp_path / "s", [f"z{k}.tif" for k in range(4)])
    write(folder / "z2.tif", VOXELS[:2])
    refuse(folder, "z2.tif has 2 pages in a folder of 4 files")
    for k in (0, 1, 3):
        write(folder / f"z{k}.tif", VOXELS[:5])
    write(folder / "z2.tif", VOXELS[2])
    refuse(folder, "z2.tif has 1 page in a folder")


def test_channels_of_slices_are_chosen_by_sample_or_by_name(tmp_path: Path) -> None:
    pair = np.stack([VOXELS, VOXELS[::-1]], axis=-1)
    (tmp_path / "samples").mkdir()
    names = tmp_path / "names"
    names.mkdir()
    for k, plane in enumerate(pair):
        write(tmp_path / "samples" / f"z{k}.tif", plane, planarconfig="contig")
        for c in (0, 1):
            write(names / f"brain_C{c}_z{k:03}.tif", plane[..., c])

    for folder in (tmp_path / "samples", names):
        for channel in (0, 1):
            np.testing.assert_array_equal(read(folder, channel=channel), pair[..., channel])
        assert open_source(folder, channel=1).channels == 2
        said = refuse(folder, "has 2 channels.*--channel 0 to 1")
        assert said.count("--channel") == 1
        with pytest.raises(UsageError, match="channel 2 does not exist"):
            open_source(folder, channel=2)
    (names / "brain_C1_z003.tif").unlink()
    refuse(names, "channel 0 has 12 slices; channel 1 has 11 slices")


def test_other_varying_numbers_are_no_channels() -> None:
    for names in (["abc1_z1", "abc2_z1"], ["z1", "z2"], ["t1_c1", "t2_c1"]):
        files = [Path(f"{name}.tif") for name in names]
        assert slice_channels(files) == [files]


def test_the_first_and_last_slice_must_agree_on_the_spacing(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"imagej": True, "resolution": (2, 2)}
    names = [f"z{k}.tif" for k in range(4)]
    folder = slices(tmp_path / "s", names, metadata={"unit": "um", "spacing": 2}, **facts)
    assert open_source(folder).spacing_um == (2.0, 0.5, 0.5)

    write(folder / "z3.tif", VOXELS[3], metadata={"unit": "um", "spacing": 4}, **facts)
    source = open_source(folder)
    assert source.spacing_um is None
    assert any("z3.tif says 4 x" in note for note in source.notes)


def test_all_slices_that_differ_or_are_damaged_are_named_with_their_count(tmp_path: Path) -> None:
    folder = slices(tmp_path / "s", [f"z{k:02}.tif" for k in range(12)])
    write(folder / "z00.tif", VOXELS[0, :20])
    refuse(folder, "z00.tif is 20 x 29 uint16; the others are 33 x 29 uint16.*alike")
    write(folder / "z05.tif", VOXELS[5].astype(np.uint8))
    refuse(folder, "2 of 12 planes.*z00.tif is 20 x 29.*z05.tif is 33 x 29 uint8")

    for k in (1, 4, 7, 9, 10):
        path = folder / f"z{k:02}.tif"
        path.write_bytes(path.read_bytes()[: 60 * k])
    said = refuse(folder, "5 of 12 files of .* cannot be used")
    assert [f"z{k:02}.tif" in said for k in (1, 4, 7, 9, 10)] == [True] * 3 + [False] * 2
    assert "and 2 more" in said


def test_what_is_wrong_with_all_slices_is_said_once(tmp_path: Path) -> None:
    said = refuse(
        slices(tmp_path / "s", [f"z{k}.tif" for k in range(4)], photometric="miniswhite"), "white"
    )
    assert said.count("white") == 1


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["z1.tif", "z2.tif", "z4.tif"], "slice 3 is missing between .*z2.tif and .*z4.tif"),
        (["z000.tif", "z010.tif", "z030.tif"], "slice 20 is missing"),
        ([f"z{k}.tif" for k in (1, 2, 3, 5, 9, 10, 13)], "slices 4; 6 to 8; 11 to 12 .6 in all"),
        ([f"z{k}.tif" for k in (1, 3, 5, 6, 7)], "slices cannot be ordered|slices? .*missing"),
        ([f"z{k}.tif" for k in (0, 10, 20, 25)], "numbers go up by 10, and .*z25.tif follows"),
        (["z1.tif", "z01.tif"], "same slice number"),
        (["z1.tif", "z2.tif", "z02.tif"], "same slice number"),
        (["z1.tif", "z01.tif", "z2.tif", "z02.tif"], "z1.tif; .*z2.tif carry the same"),
        (["z1.tif", "z2.tif", "mask1.tif"], "mask1.tif is named unlike"),
        (["z1.tif", "z2.tif", "z3.tif", "a1.tif", "b1.tif"], "a1.tif; .*b1.tif .2 of 5 files"),
        (["z1_t1.tif", "z1_t2.tif", "z2_t1.tif"], "cannot be ordered"),
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


@settings(max_examples=40, deadline=None)
@given(missing=st.sets(st.integers(1, 28), min_size=1, max_size=6))
def test_every_missing_slice_is_counted(missing: set[int]) -> None:
    files = [Path(f"z{k}.tif") for k in range(30) if k not in missing]

    with pytest.raises(VolumeError, match="missing between") as caught:
        ordered_slices(files)
    said = str(caught.value)
    assert f"slice {min(missing)}" in said or f"slices {min(missing)}" in said
    assert len(missing) == 1 or f"({len(missing)} in all)" in said


def test_names_with_other_digits_do_not_break_the_order() -> None:
    assert natural_key("z²") == natural_key("z²")
    assert ordered_slices([Path("z².tif"), Path("a².tif")])[0] == Path("a².tif")


def test_a_slice_that_vanished_or_changed_is_named_when_it_is_read(tmp_path: Path) -> None:
    folder = slices(tmp_path / "s", [f"z{k}.tif" for k in range(4)])
    source = open_source(folder)
    first = Box((0, 0, 0), (1, 33, 29))
    write(folder / "z2.tif", VOXELS[2, :20])
    with pytest.raises(VolumeError, match=r"z2.tif has changed since it was opened"):
        source.read(Box((0, 0, 0), (4, 33, 29)))
    (folder / "z2.tif").unlink()
    with pytest.raises(VolumeError, match=r"z2.tif cannot be opened any more"):
        source.read(Box((2, 0, 0), (3, 5, 5)))
    np.testing.assert_array_equal(source.read(first), VOXELS[:1])

    stat = (folder / "z0.tif").stat()
    write(folder / "z0.tif", VOXELS[1])
    os.utime(folder / "z0.tif", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    with pytest.raises(VolumeError, match=r"z0.tif has changed"):
        source.read(first)
