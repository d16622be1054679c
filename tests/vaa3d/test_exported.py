"""Where the voxels of what Vaa3D showed lie in the brain."""

import json
from pathlib import Path

import numpy as np
import pytest

from neuroconn.errors import UsageError
from neuroconn.geometry import Frame
from neuroconn.vaa3d import TeraflyPlan, write_terafly
from neuroconn.vaa3d.exported import export_around, frame_of_export

FRAME = Frame((2.0, 1.0, 0.5), (100.0, 20.0, 7.5))


def tree(path: Path, **identity: object) -> Path:
    plan = TeraflyPlan((20, 30, 40), "uint8", FRAME.spacing_um, FRAME.origin_um)
    ones = np.ones((20, 30, 40), np.uint8)
    write_terafly(lambda box: ones[box.slices], path, plan, identity=identity)
    return path


def crop(path: Path, **notes: object) -> Path:
    path.write_bytes(b"voxels")
    record = {"format": "v3draw", "spacing_um": FRAME.spacing_um, "origin_um": FRAME.origin_um}
    path.with_name(f"{path.name}.json").write_text(json.dumps(record | notes))
    return path


def test_a_tree_lies_where_it_says(tmp_path: Path) -> None:
    ours = tree(tmp_path / "tree")
    assert frame_of_export(ours) == FRAME

    (ours / "neuroconn.json").unlink()  # a tree of another program has its mdata.bin
    assert frame_of_export(ours) == FRAME
    assert frame_of_export(next(ours.glob("RES*x20)"))) == FRAME


def test_a_place_that_terafly_cannot_say_is_in_the_record(tmp_path: Path) -> None:
    before = (-5.0, -1.0, 0.0)
    found = frame_of_export(tree(tmp_path / "tree", origin_um=before))
    assert found.origin_um == before


def test_a_single_file_lies_where_its_record_says(tmp_path: Path) -> None:
    assert frame_of_export(crop(tmp_path / "a.v3draw")) == FRAME


@pytest.mark.parametrize("notes", [{"format": "png"}, {"origin_um": None}, {"spacing_um": [0] * 3}])
def test_a_record_of_something_else_says_nothing(notes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"does not say where.*a\.v3draw\.json"):
        frame_of_export(crop(tmp_path / "a.v3draw", **notes))


def test_what_is_no_export_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no export"):
        frame_of_export(tmp_path / "gone")
    with pytest.raises(UsageError, match="give a TeraFly tree"):
        frame_of_export(tmp_path)


@pytest.mark.parametrize(
    "name", ["a.v3draw.marker", "a.v3draw.apo", "a.v3draw.ano", "a.v3draw.ano.eswc"]
)
def test_vaa3d_names_landmarks_after_what_it_showed(name: str, tmp_path: Path) -> None:
    shown = crop(tmp_path / "a.v3draw")

    assert export_around(tmp_path / name) == shown
    assert export_around(tmp_path / name.replace("a.", "b.", 1)) is None
    assert export_around(tmp_path / "plain.marker") is None


def test_a_file_in_a_tree_of_ours_belongs_to_it(tmp_path: Path) -> None:
    ours = tree(tmp_path / "tree")
    (ours / "notes").mkdir()

    assert export_around(ours / "notes" / "brain.ano") == ours
    assert export_around(tmp_path / "brain.ano") is None
