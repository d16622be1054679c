"""What decoding finds: damage, levels that are not made of each other, hints."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from neuroconn.vaa3d.conformance import check_vaa3d
from neuroconn.vaa3d.conformance import pixels as pixels_module

POWERS = np.random.default_rng(2).choice([0, 4, 5, 8, 9, 4096], (6, 20, 272)).astype(np.uint16)


@pytest.mark.parametrize("how", ["max", "mean"])
@pytest.mark.parametrize("voxels", [8 << 20, 3000], ids=["at once", "in slabs"])
def test_how_a_level_was_made_is_recognised(
    make: Any, tmp_path: Path, how: str, voxels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels_module, "AT_ONCE", voxels)
    tree = make(tmp_path / "tree", how=how)

    report = check_vaa3d(tree.root, pixels=True)

    assert report.rules <= {"pixels.power-of-two"}  # which means may be
    assert [level.made_by for level in report.levels] == [None, how]


def test_a_mean_without_powers_of_two_is_recognised(make: Any, tiff: Any, tmp_path: Path) -> None:
    volume = np.full((6, 20, 272), 5, np.uint16)
    volume[:, :, 100:120:2] = 11  # means of 8
    tree = make(tmp_path / "tree", volume, how="mean")
    level = tifffile.imread(tree.tile(level=1))
    tiff.save(tree.tile(level=1), np.where(level == 8, 7, level).astype(np.uint16))

    report = check_vaa3d(tree.root, pixels=True)

    assert report.levels[1].made_by == "mean, powers of two avoided"
    assert report.findings == ()


@pytest.mark.parametrize("level", [0, 1])
def test_one_wrong_voxel_is_seen(tree: Any, tiff: Any, level: int) -> None:
    path = tree.tile(level=level)
    voxels = tifffile.imread(path)
    voxels[0, 1, 2] = 60000
    tiff.save(path, voxels)

    (found,) = check_vaa3d(tree.root, pixels=True).findings

    assert found.rule == "pixels.pyramid"
    assert found.file == "RES(10x136x3)"
    assert f"1 of {3 * 10 * 136} voxels" in found.what


def test_the_tile_where_levels_first_differ_is_named(make: Any, tiff: Any, tmp_path: Path) -> None:
    cut = (((4, 2), (12, 8), (150, 122)), ((3,), (6, 4), (70, 66)))
    tree = make(tmp_path / "tree", sizes=cut)
    for x in (0, 1):
        path = tree.tile(0, 1, x, level=1)
        voxels = tifffile.imread(path)
        voxels[0, 1, 2] = 60000
        tiff.save(path, voxels)

    (found,) = check_vaa3d(tree.root, pixels=True).findings

    assert found.what.startswith(f"2 of {3 * 10 * 136} voxels")
    assert found.what.endswith("the first between (0, 6, 0) and (3, 10, 70) (z, y, x)")


def test_damaged_voxels_are_named_and_the_rest_is_compared(make: Any, tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", compression="zlib")
    path = tree.tile(1, 1, 1)
    with tifffile.TiffFile(path) as tif:
        at = tif.pages[0].dataoffsets[0]  # type: ignore[union-attr]
    data = bytearray(path.read_bytes())
    data[at : at + 40] = b"\xff" * 40
    path.write_bytes(bytes(data))
    assert check_vaa3d(tree.root).sound

    found = check_vaa3d(tree.root, pixels=True).findings

    assert [one.rule for one in found if one.severity == "error"] == ["pixels.undecodable"]
    assert found[0].file == path.relative_to(tree.root).as_posix()


def test_powers_of_two_are_a_hint_and_a_warning_at_the_top(make: Any, tmp_path: Path) -> None:
    tree = make(tmp_path / "a", POWERS)
    tops = {f.file: f for f in check_vaa3d(tree.root, pixels=True).findings}
    assert {f.severity for f in tops.values()} == {"warning"}
    count = int(np.isin(POWERS, (4, 8, 4096)).sum())
    assert f"{count} voxels; the brightest voxel is 4096" in tops["RES(20x272x6)"].what

    brighter = POWERS.copy()
    brighter[0, 0, 0] = 5000
    tree = make(tmp_path / "b", brighter)
    found = check_vaa3d(tree.root, pixels=True)
    assert {f.severity for f in found.findings} == {"note"}
    assert found.rules == {"pixels.power-of-two"}

    tree = make(tmp_path / "c", POWERS.astype(np.uint8))
    assert check_vaa3d(tree.root, pixels=True).rules == set()


def test_stored_tiles_of_zeros_are_counted(make: Any, tmp_path: Path) -> None:
    volume = np.full((6, 20, 272), 3, np.uint16)
    volume[:4, :12, :150] = 0
    tree = make(tmp_path / "tree", volume)

    (found,) = check_vaa3d(tree.root, pixels=True).findings

    assert (found.rule, found.severity) == ("pixels.empty", "note")
    assert tree.root / found.file == tree.tile(0, 0, 0)


def test_progress_counts_tiles_decoded_and_compared(tree: Any) -> None:
    seen: list[tuple[int, int]] = []

    check_vaa3d(tree.root, pixels=True, progress=lambda done, total: seen.append((done, total)))

    assert seen[-1] == (10, 10)  # nine decoded, one compared
