"""What a check finds in sound trees, and how it goes about it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken_layouts import move_to_length

from neuroconn.errors import VolumeError
from neuroconn.vaa3d.conformance import check_vaa3d
from neuroconn.vaa3d.mdata import Block, encode


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "lzw", "rowsperstrip": 1},
        {"compression": "zlib", "predictor": True},
        {"bigtiff": True},
        {"number": lambda page, total: (page, total)},
        {"number": lambda page, total: (page, total), "bigtiff": True, "rowsperstrip": 3},
        {"imagej": True},
        {"metadata": {}},
        {"software": "ImageStack 1.0", "datetime": True, "resolution": (1, 1)},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_a_sound_tree_has_no_finding(
    make: Any, tmp_path: Path, dtype: Any, options: dict[str, Any]
) -> None:
    volume = np.random.default_rng(1).integers(0, 255, (6, 20, 272)).astype(dtype)
    tree = make(tmp_path / "tree", volume, **options)

    report = check_vaa3d(tree.root)

    assert report.rules <= {"level.zlib"}, report.findings
    assert report.sound
    assert [level.shape for level in report.levels] == [(6, 20, 272), (3, 10, 136)]
    assert [level.tiles for level in report.levels] == [8, 1]
    assert report.levels[0].dtype == np.dtype(dtype).name
    assert report.levels[0].bytes == sum(path.stat().st_size for path in tree.tiles()[1:])


def test_a_path_of_1023_bytes_still_opens(tree: Any) -> None:
    move_to_length(tree, 1023)

    assert check_vaa3d(tree.root).findings == ()


def test_empty_tiles_need_neither_file_nor_folder(tree: Any) -> None:
    blocks = tuple(replace(block, file=None) for block in tree.column(0, 0, 0).blocks)
    shutil.rmtree(tree.tile().parent)
    tree.change_column((0, 0), blocks=blocks)

    report = check_vaa3d(tree.root)

    assert report.findings == ()
    assert report.levels[0].empty == 2


def test_deep_and_thin_tiles_are_told_once(make: Any, tmp_path: Path) -> None:
    volume = np.ones((258, 8, 9), np.uint8)
    tree = make(tmp_path / "tree", volume, (((257, 1), (7, 1), (9,)), ((129,), (4,), (4,))))

    report = check_vaa3d(tree.root)

    counts = {rule: times for rule, _, times in report.counts}
    assert counts == {"tile.deep": 1, "tile.thin": 2}
    tree.table().unlink()
    assert ("tile.deep", "warning", 2) in check_vaa3d(tree.root).counts


def test_what_lies_beside_the_levels_is_nobodys_business(tree: Any) -> None:
    (tree.root / "vmap.bin").write_bytes(b"x")
    (tree.root / ".repair-backup" / "RES").mkdir(parents=True)
    (tree.root / "RES notes.txt").write_text("x")
    (tree.folder(0) / ".DS_Store").write_bytes(b"x")
    (tree.folder(0) / "two words").mkdir()

    assert check_vaa3d(tree.root).findings == ()


def test_findings_are_kept_in_bounded_number_and_counted_all(
    tree: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuroconn.vaa3d.conformance.findings.KEPT", 3)
    for path in tree.tiles():
        path.write_bytes(b"spoilt")

    report = check_vaa3d(tree.root, threads=3)

    assert report.counts == (("tile.unreadable", "error", 9),)
    kept = [tree.root / one.file for one in report.findings]
    assert kept == [tree.tile(0), tree.tile(1), tree.tile(0, 0, 1)]  # whatever thread was first


def test_a_layout_check_opens_no_tile(tree: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("neuroconn.vaa3d.conformance.tile.read_tiff", refuse)
    tree.tile(1, 0, 1).unlink()

    report = check_vaa3d(tree.root, tiles=False)

    assert report.rules == {"level.tile-missing"}


def test_progress_ends_at_the_number_of_tiles(tree: Any) -> None:
    seen: list[tuple[int, int]] = []

    check_vaa3d(tree.root, progress=lambda done, total: seen.append((done, total)))

    assert seen[-1] == (9, 9)
    assert seen == sorted(seen)


def test_a_report_is_json_and_names_file_rule_and_mend(tree: Any) -> None:
    tree.tile(1, 0, 1).unlink()

    found = json.loads(json.dumps(check_vaa3d(tree.root).as_dict()))

    assert (found["sound"], found["errors"], found["warnings"]) == (False, 1, 0)
    (one,) = found["findings"]
    assert one["rule"] == "level.tile-missing"
    assert one["file"] == tree.tile(1, 0, 1).relative_to(tree.root).as_posix()
    assert {"why", "mend", "what", "severity"} < set(one)


def test_a_folder_that_is_no_tree_is_an_error(tree: Any, tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="not a TeraFly tree"):
        check_vaa3d(tmp_path)
    with pytest.raises(VolumeError, match=r"name .* instead"):
        check_vaa3d(tree.folder(0))
    with pytest.raises(VolumeError, match="cannot be read"):
        check_vaa3d(tmp_path / "nothing")


def test_no_damage_ends_in_another_error(tree: Any) -> None:
    victims = [tree.table(), tree.tile(), tree.tile(1, 1, 1), tree.folder(0) / ".iim.format"]
    good = {path: path.read_bytes() for path in victims}
    for seed in range(200):
        rng = np.random.default_rng(seed)
        path = victims[seed % len(victims)]
        data = bytearray(good[path])
        for _ in range(int(rng.integers(1, 4))):
            data[int(rng.integers(0, min(len(data), 400)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data[: int(rng.integers(0, len(data)))] if seed % 5 == 0 else data)

        check_vaa3d(tree.root, threads=1, pixels=seed % 7 == 0).as_dict()

        path.write_bytes(good[path])


def test_a_table_is_followed_inside_its_level_only(tree: Any, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(tree.tile().parent, outside)
    column = replace(tree.column(0, 0, 0), folder="../../outside")
    rows = ((column, *tree.tables[0].rows[0][1:]), *tree.tables[0].rows[1:])
    tree.table().write_bytes(encode(replace(tree.tables[0], rows=rows)))
    for path in outside.iterdir():
        path.write_bytes(b"not a tile")

    found = check_vaa3d(tree.root).findings

    assert {f.rule for f in found if f.severity == "error"} == {"table.path"}


def test_a_column_without_blocks_is_a_finding(tree: Any) -> None:
    tree.change_column((0, 0), blocks=())
    assert "table.partition" in check_vaa3d(tree.root).rules
    tree.change_column((1, 1), blocks=(Block(None, 0, 0),))
    assert "table.z-partition" in check_vaa3d(tree.root).rules
