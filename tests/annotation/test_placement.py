from pathlib import Path

import numpy as np
import pytest

from neuroconn.annotation import Forest, read_forest, swc_files, write_swc
from neuroconn.errors import AnnotationError, UsageError
from neuroconn.geometry import Frame

FRAME = Frame(spacing_um=(2.5, 1.3, 1.3), origin_um=(5.0, 0.0, 0.0))


@pytest.fixture
def swc(tmp_path: Path) -> Path:
    write_swc(tmp_path / "a.swc", Forest([[10.0, 13.0, 26.0], [5.0, 0.0, 0.0]], [-1, 0]))
    return tmp_path / "a.swc"


def test_micrometres_go_through_the_frame(swc: Path) -> None:
    forest = read_forest(swc, units="um", frame=FRAME)
    np.testing.assert_allclose(forest.positions, [[2, 10, 20], [0, 0, 0]], atol=1e-12)


def test_voxels_stay_voxels(swc: Path) -> None:
    forest = read_forest(swc, units="voxel", frame=FRAME, origin=(1, 2, 3))
    assert forest.positions.tolist() == [[11, 15, 29], [6, 2, 3]]


def test_a_number_is_um_in_a_unit_and_the_origin_is_um(swc: Path) -> None:
    forest = read_forest(swc, units=25, frame=Frame((25.0, 25.0, 50.0)), origin=(0, 0, 100))
    np.testing.assert_allclose(forest.positions, [[10, 13, 15], [5, 0, 2]])


def test_the_y_flip_counts_rows_from_the_other_side(swc: Path) -> None:
    forest = read_forest(swc, units="voxel", frame=FRAME, shape=(20, 30, 40), y_flip=True)
    assert forest.positions.tolist() == [[10, 16, 26], [5, 29, 0]]


def test_a_flip_needs_a_height(swc: Path) -> None:
    with pytest.raises(UsageError, match="shape"):
        read_forest(swc, units="voxel", frame=FRAME, y_flip=True)


def test_a_forest_outside_the_volume_is_refused(swc: Path) -> None:
    with pytest.raises(AnnotationError, match=r"only 50\.0% of 2 nodes"):
        read_forest(swc, units="voxel", frame=FRAME, shape=(8, 8, 8))


def test_one_node_in_twenty_may_leave_the_volume(tmp_path: Path) -> None:
    positions = np.zeros((20, 3))
    positions[0] = 99
    write_swc(tmp_path / "a.swc", Forest(positions, np.full(20, -1)))

    assert len(read_forest(tmp_path / "a.swc", units="voxel", frame=FRAME, shape=(8, 8, 8))) == 20


def test_a_voxel_reaches_half_a_voxel_around_its_centre(tmp_path: Path) -> None:
    for position, fits in [(-0.5, True), (-0.51, False), (7.49, True), (7.5, False)]:
        write_swc(tmp_path / "a.swc", Forest([[position, 0, 0]], [-1]))
        if fits:
            read_forest(tmp_path / "a.swc", units="voxel", frame=FRAME, shape=(8, 8, 8))
        else:
            with pytest.raises(AnnotationError):
                read_forest(tmp_path / "a.swc", units="voxel", frame=FRAME, shape=(8, 8, 8))


@pytest.mark.parametrize("units", ["mm", 0, -25.0, float("nan")])
def test_units_are_a_word_or_a_scale(swc: Path, units: object) -> None:
    with pytest.raises(UsageError, match="units"):
        read_forest(swc, units=units, frame=FRAME)  # type: ignore[arg-type]


def test_a_folder_stands_for_its_tracings(swc: Path) -> None:
    write_swc(swc.with_name("b.eswc"), Forest([[0, 0, 0]], [-1]))
    (swc.parent / "notes.txt").write_text("hi")

    assert [p.name for p in swc_files(swc.parent)] == ["a.swc", "b.eswc"]
    assert len(read_forest([swc.parent, swc], units="voxel", frame=FRAME)) == 5


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    for paths in ([], tmp_path, tmp_path / "gone.swc"):
        with pytest.raises(AnnotationError):
            swc_files(paths)
