import pickle

import numpy as np
import pytest

from neuroconn.annotation import Forest, concatenate
from neuroconn.errors import AnnotationError
from neuroconn.geometry import Frame

FORK = Forest([[0, 0, 3], [0, 0, 0], [0, 4, 3], [9, 9, 9]], [1, -1, 0, -1])


def test_edges_are_child_and_parent() -> None:
    assert FORK.edges.tolist() == [[0, 1], [2, 0]]


def test_roots_have_no_parent() -> None:
    assert FORK.roots.tolist() == [1, 3]


def test_length_is_summed_over_the_links() -> None:
    assert FORK.length == 7.0


def test_a_tree_of_one_node_is_a_segment_of_no_length() -> None:
    assert FORK.segments[-1].tolist() == [[9, 9, 9], [9, 9, 9]]
    assert len(FORK.segments) == 3


def test_radii_and_kinds_have_dummies() -> None:
    assert (FORK.radii.tolist(), FORK.kinds.tolist()) == ([1.0] * 4, [0] * 4)


def test_concatenating_keeps_the_trees_apart() -> None:
    both = concatenate([FORK, FORK])

    assert both.parents.tolist() == [1, -1, 0, -1, 5, -1, 4, -1]
    assert both.length == 2 * FORK.length
    assert concatenate([FORK]) == FORK


def test_nothing_concatenates_to_an_empty_forest() -> None:
    empty = concatenate([])

    assert (len(empty), empty.length, len(empty.segments), len(empty.roots)) == (0, 0.0, 0, 0)


def test_a_transform_scales_then_shifts_each_axis() -> None:
    moved = FORK.transform((1, 2, 3), (10, 0, -1))

    assert moved.positions.tolist() == [[10, 0, 8], [10, 0, -1], [10, 8, 8], [19, 18, 26]]
    assert moved.parents.tolist() == FORK.parents.tolist()


def test_25_um_units_become_voxels() -> None:
    frame = Frame(spacing_um=(2.5, 1.3, 1.3))

    voxels = Forest([[1, 0, 1]], [-1]).transform(25).to_voxels(frame).positions

    np.testing.assert_allclose(voxels, [[10, 0, 19.2307692]])


def test_to_voxels_undoes_to_um() -> None:
    frame = Frame((2.5, 1.3, 0.7), (100.0, -3.0, 8.0))
    np.testing.assert_allclose(
        FORK.to_um(frame).to_voxels(frame).positions, FORK.positions, atol=1e-12
    )


def test_a_forest_cannot_be_changed_from_outside() -> None:
    positions = np.zeros((1, 3))
    forest = Forest(positions, np.array([-1]))

    positions[0] = 5

    assert forest.positions.tolist() == [[0, 0, 0]]
    with pytest.raises(ValueError, match="read-only"):
        forest.positions[0] = 1


def test_a_forest_survives_the_way_to_a_worker() -> None:
    assert pickle.loads(pickle.dumps(FORK)) == FORK
    assert FORK.transform(2) != FORK
    assert FORK != "forest"


@pytest.mark.parametrize(
    ("parents", "radii"), [([-1, 2], []), ([-1, -2], []), ([-1], []), ([-1, 0], [1.0])]
)
def test_arrays_that_do_not_fit_are_refused(parents: list[int], radii: list[float]) -> None:
    with pytest.raises(AnnotationError):
        Forest(np.zeros((2, 3)), np.array(parents), np.array(radii))


def test_a_position_must_be_a_number() -> None:
    with pytest.raises(AnnotationError, match="finite"):
        Forest([[0, np.nan, 0]], [-1])
