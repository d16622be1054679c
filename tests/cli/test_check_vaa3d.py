"""The check-vaa3d command, as a user types it."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from neuroconn.cli import main
from neuroconn.vaa3d.mdata import FORMAT_NAME, Block, Column, TileTable, encode

SHAPES = ((2, 6, 300), (1, 3, 150))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two levels of one tile each; every PageNumber tells the total of another stack."""
    for number, (z, y, x) in enumerate(SHAPES):
        level = tmp_path / "tree" / f"RES({y}x{x}x{z})"
        path = level / "000000" / "000000_000000" / "000000_000000_000000.tif"
        path.parent.mkdir(parents=True)
        with tifffile.TiffWriter(path) as writer:
            for page in range(z):
                writer.write(
                    np.full((y, x), 3, np.uint8), photometric="minisblack", metadata=None,
                    contiguous=False, extratags=[(297, "H", 2, (page, 99), True)],
                )  # fmt: skip
        column = Column("000000/000000_000000", (0, 0), (y, x), (Block(path.name, 0, z),), 1)
        table = TileTable((z, y, x), (2.0**number,) * 3, (0.0, 0.0, 0.0), ((column,),))
        (level / "mdata.bin").write_bytes(encode(table))
        (level / ".iim.format").write_text(FORMAT_NAME)
    return tmp_path / "tree"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["check-vaa3d", *map(str, arguments)])


def test_people_get_levels_rules_and_mends(tree: Path) -> None:
    result = run(tree)

    assert result.exit_code == 3
    assert "RES(6x300x2)  2 x 6 x 300  1 x 1 x 1 µm  uint8  1 tile  1 none" in result.stdout
    assert "error    tile.page-number" in result.stdout
    assert "000000_000000_000000.tif: 2 of 2 pages: page 0 says (0, 99)" in result.stdout
    assert "mend: check-vaa3d --repair" in result.stdout
    assert result.stdout.splitlines()[-1] == f"{tree} is not sound: 2 errors, 0 warnings"


def test_machines_get_one_object(tree: Path) -> None:
    result = run(tree, "--json")

    found = json.loads(result.stdout)
    assert result.exit_code == 3
    assert (found["sound"], found["errors"]) == (False, 2)
    assert {one["rule"] for one in found["findings"]} == {"tile.page-number"}


def test_a_repair_is_told_checked_and_taken_back(tree: Path) -> None:
    before = {path: path.read_bytes() for path in tree.rglob("*.tif")}
    (tree / "RES(6x300x2)" / "mdata.bin").unlink()

    mended = run(tree, "--repair", "--pixels")
    again = json.loads(run(tree, "--repair", "--json").stdout)
    undone = run(tree, "--undo")

    assert mended.exit_code == 0, mended.output
    assert "mended   PageNumber of 2 tiles" in mended.stdout
    assert "mended   RES(6x300x2)/mdata.bin: written from names and headers" in mended.stdout
    assert mended.stdout.splitlines()[-1] == f"{tree} is sound: 2 tiles"
    assert again["repair"] == {"mended": [], "refused": [], "tiles": 0, "backup": None}
    assert undone.exit_code == 3
    assert "put 3 files back" in undone.stdout
    assert {path: path.read_bytes() for path in tree.rglob("*.tif")} == before


def test_what_cannot_be_mended_is_said(tree: Path) -> None:
    for table in tree.rglob("mdata.bin"):
        table.unlink()

    refused = run(tree, "--repair")
    told = run(tree, "--repair", "--spacing", "2.5", "0.5", "0.5")

    assert refused.exit_code == 3
    assert "left     RES(6x300x2)/mdata.bin: nothing tells its voxel size" in refused.stdout
    assert told.exit_code == 0, told.output
    assert "2.5 x 0.5 x 0.5 µm" in told.stdout


def test_warnings_count_when_asked_to(tree: Path) -> None:
    run(tree, "--repair")
    (tree / "RES(6x300x2)" / "logs").mkdir()

    lenient, strict = run(tree), run(tree, "--strict")

    assert (lenient.exit_code, strict.exit_code) == (0, 3)
    assert lenient.stdout.splitlines()[-1] == f"{tree} is sound: 2 tiles, 1 warning"


def test_layout_opens_no_tile(tree: Path) -> None:
    for path in tree.rglob("*.tif"):
        path.write_bytes(b"")

    assert run(tree, "--layout").exit_code == 0
    assert run(tree).exit_code == 3


@pytest.mark.parametrize(
    "options",
    [
        ["--repair", "--undo"],
        ["--layout", "--pixels"],
        ["--spacing", 1, 1, 1],
        ["--repair", "--spacing", 0, 1, 1],
    ],
    ids=str,
)
def test_options_that_exclude_each_other_are_usage_errors(
    tree: Path, options: list[object]
) -> None:
    assert run(tree, *options).exit_code == 2


def test_a_folder_that_is_no_tree_is_bad_input(tmp_path: Path) -> None:
    result = run(tmp_path)

    assert result.exit_code == 3
    assert "not a TeraFly tree" in result.stderr
