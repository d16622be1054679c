"""Seeds that were marked or traced in Vaa3D: in the brain, in a crop of it, in a coarser level."""

import json
from pathlib import Path

import numpy as np
import pytest

from neuroconn.annotation import Forest, Landmark, write_ano, write_landmarks
from neuroconn.errors import AnnotationError, UsageError
from neuroconn.geometry import ChunkGrid, Frame, Level
from neuroconn.inference.seeds.files import SeedFile, read_seed_file
from neuroconn.inference.seeds.find import find_seeds
from neuroconn.vaa3d import TeraflyPlan, write_terafly
from neuroconn.volume import Image, create_image

SHAPE = (64, 96, 80)
FRAME = Frame((2.0, 1.0, 0.5), (-20.0, 40.0, 6.0))
GRID = ChunkGrid(SHAPE, (32, 32, 32))
CROP = (30, 40, 50)
"""Where the crop begins, in voxels of the brain."""


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return create_image(
        tmp_path_factory.mktemp("brain") / "brain.ome.zarr",
        levels=[Level(SHAPE, (1, 1, 1), (1, 1, 1))],
        dtype="uint16",
        frame=FRAME,
        chunk=32,
        shard=None,
        kind="brain",
    )


def tree(path: Path, frame: Frame = FRAME, start: tuple[int, int, int] = CROP) -> Path:
    """Write a tree of a part of the brain."""
    z, y, x = frame.to_um([start])[0].tolist()
    nothing = np.zeros((24, 24, 24), np.uint8)
    write_terafly(
        lambda box: nothing[box.slices],
        path,
        TeraflyPlan(nothing.shape, "uint8", frame.spacing_um, (max(z, 0), y, x)),
        identity={"origin_um": (z, y, x)},
    )
    return path


def marked(path: Path, *voxels: tuple[float, float, float]) -> Path:
    marks = [Landmark(voxel) for voxel in voxels]
    if path.suffix == ".ano":
        write_ano(path, marks)
    else:
        write_landmarks(path, marks)
    return path


def read(path: Path, brain: Image, **how: object) -> tuple[list[list[float]], list[str]]:
    voxels, warnings = read_seed_file(SeedFile(path, **how), brain)  # type: ignore[arg-type]
    return voxels.round(6).tolist(), warnings


@pytest.mark.parametrize("suffix", [".marker", ".apo", ".ano"])
def test_places_in_the_brain_are_taken_as_they_are(
    suffix: str, brain: Image, tmp_path: Path
) -> None:
    path = marked(tmp_path / f"a{suffix}", (10, 40, 70))
    assert read(path, brain) == ([[10, 40, 70]], [])
    assert find_seeds(brain, GRID, source=path).chunks == ((0, 1, 2),)


def test_an_annotation_set_gives_its_points_and_its_nodes(brain: Image, tmp_path: Path) -> None:
    path = tmp_path / "brain.ano"
    write_ano(path, [Landmark((10, 40, 70))], Forest([[40, 80, 5], [40, 80, 200]], [-1, 0]))

    voxels, warnings = read(path, brain)

    assert voxels == [[10, 40, 70], [40, 80, 5]]
    assert "1 of 2 nodes lie outside" in warnings[0]


def test_a_traced_eswc_gives_its_nodes(brain: Image, tmp_path: Path) -> None:
    (tmp_path / "a.eswc").write_text("1 2 70 40 10 1 -1 0 1 0 0 1 0.5\n")
    assert read(tmp_path / "a.eswc", brain) == ([[10, 40, 70]], [])


def test_places_in_a_tree_of_a_crop_are_carried_over(brain: Image, tmp_path: Path) -> None:
    path = marked(tmp_path / "a.ano", (0, 0, 0), (1, 2, 3))

    voxels, warnings = read(path, brain, export=tree(tmp_path / "tree"))

    assert (voxels, warnings) == ([[30, 40, 50], [31, 42, 53]], [])
    assert find_seeds(brain, GRID, source=path, export=tmp_path / "tree").chunks == ((0, 1, 1),)


def test_places_in_a_tree_of_a_coarser_level_are_carried_over(brain: Image, tmp_path: Path) -> None:
    coarse = Level((32, 48, 40), (2, 2, 2), (2, 2, 2)).frame(FRAME)

    voxels, _ = read(
        marked(tmp_path / "a.apo", (3, 4, 5)), brain,
        export=tree(tmp_path / "tree", coarse, (0, 0, 0)),
    )  # fmt: skip

    assert voxels == [[6.5, 8.5, 10.5]]
    (warning,) = read(marked(tmp_path / "tree" / "a.apo", (3, 4, 5)), brain)[1]
    assert "begins at (0.5, 0.5, 0.5) in the brain, and one of which is (2, 2, 2) of" in warning


def test_a_file_in_a_tree_of_ours_is_carried_over_and_that_is_said(
    brain: Image, tmp_path: Path
) -> None:
    path = marked(tree(tmp_path / "tree") / "a.marker", (1, 2, 3))

    voxels, (warning,) = read(path, brain)

    assert voxels == [[31, 42, 53]]
    assert f"the voxels of {tmp_path / 'tree'}, which begins at (30, 40, 50)" in warning
    assert read(path, brain, export=brain.path) == ([[1, 2, 3]], [])


def test_a_file_named_after_a_crop_of_ours_is_carried_over(brain: Image, tmp_path: Path) -> None:
    (tmp_path / "crop.v3draw").write_bytes(b"")
    place = FRAME.to_um([CROP])[0].tolist()
    notes = {"format": "v3draw", "spacing_um": FRAME.spacing_um, "origin_um": place}
    (tmp_path / "crop.v3draw.json").write_text(json.dumps(notes))

    voxels, warnings = read(marked(tmp_path / "crop.v3draw.marker", (1, 2, 3)), brain)

    assert voxels == [[31, 42, 53]]
    assert len(warnings) == 1


def test_a_tree_of_the_whole_brain_changes_nothing(brain: Image, tmp_path: Path) -> None:
    whole = tree(tmp_path / "tree", start=(0, 0, 0))
    assert read(marked(whole / "a.ano", (1, 2, 3)), brain) == ([[1, 2, 3]], [])


@pytest.mark.parametrize(
    ("name", "voxels", "words"),
    [
        ("a.marker", [(1, 1, 1), (10, 40, 81), (9, 9, 200)], r"\(10, 40, 81\) .*1 more of 3\."),
        ("a.marker", [(70, 80, 10)], "Read as X Y Z or .*neuroconn wants Z Y X"),
        ("a.marker", [(-1, 2, 3)], "Counted from 0 all of them lie inside: a .marker"),
        ("a.apo", [(64, 96, 80)], "Counted from 1 all of them lie inside: say so with --apo-base"),
        ("a.ano", [(64, 96, 80)], "--apo-base 1"),
        ("a.apo", [(99, 999, 9)], r"if they were marked in an export of a part.*--seeds-in"),
    ],
)
def test_places_outside_are_counted_and_the_likely_mistake_named(
    name: str, voxels: list[tuple[int, int, int]], words: str, brain: Image, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        read(marked(tmp_path / name, *voxels), brain)


def test_an_apo_that_counts_from_1_is_read_so(brain: Image, tmp_path: Path) -> None:
    path = marked(tmp_path / "a.apo", (64, 96, 80))
    assert read(path, brain, apo_base=1) == ([[63, 95, 79]], [])


def test_places_outside_a_wrong_tree_ask_for_the_right_one(brain: Image, tmp_path: Path) -> None:
    path = marked(tmp_path / "a.marker", (40, 60, 70))
    with pytest.raises(UsageError, match=r"\(70, 100, 120\) .*read as voxels of .*tree: is that"):
        read(path, brain, export=tree(tmp_path / "tree"))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.ano", "APOFILE=gone.apo\n", "names 'gone.apo' as its APOFILE, which is not there"),
        ("a.apo", "## \n1, , , , 1,2\n", "line 2: 6 fields"),
        ("a.marker", "1,2,three\n", "line 1, field 3: 'three' is no coordinate"),
        ("a.eswc", "1 2 3 4 5 6 7\n", "line 1"),
        ("a.tif", "II*", "points are read from .*not '.tif'"),
    ],
)
def test_a_broken_file_is_named_with_its_line(
    name: str, text: str, words: str, brain: Image, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(AnnotationError, match=words):
        read(tmp_path / name, brain)


def test_a_set_without_anything_is_no_seed(brain: Image, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no points"):
        read(marked(tmp_path / "a.ano"), brain)


def test_an_export_and_micrometres_contradict_each_other(brain: Image, tmp_path: Path) -> None:
    path = marked(tmp_path / "a.marker", (1, 2, 3))
    with pytest.raises(UsageError, match="either µm or the voxels"):
        read(path, brain, units="um", export=tmp_path / "tree")
    with pytest.raises(UsageError, match="there is no export"):
        read(path, brain, export=tmp_path / "tree")
