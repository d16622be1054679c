"""ESWC: everything Vaa3D and TeraFly note of a node comes back."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.annotation import EswcColumns, Forest, read_eswc, read_swc, write_eswc
from neuroconn.errors import AnnotationError

FOREST = Forest([[3, 2, 1], [3, 2, 5], [9, 9, 9]], [-1, 0, -1], [1, 0.5, 2], [2, 2, 3])
COLUMNS = EswcColumns(
    np.array([7, 7, 8]),
    np.array([1, 2, 1]),
    np.array([0, 3, 0]),
    np.array([1_700_000_000.0, 5, 0]),
    np.array([2.0, 2, 4]),
    np.array([[0.5, 1.25], [np.nan, np.nan], [3.0, np.nan]]),
)
TEXT = """#name tree
#comment
##n,type,x,y,z,radius,parent,seg_id,level,mode,timestamp,teraflyindex,feature_value
1 2 1.000 2.000 3.000 1.000 -1 7 1 0 1700000000 2 0.50000 1.25000
2 2 5.000 2.000 3.000 0.500 1 7 2 3 5 2
3 3 9.000 9.000 9.000 2.000 -1 8 1 0 0 4 3.00000
"""


def test_rows_are_as_vaa3d_writes_them(tmp_path: Path) -> None:
    write_eswc(tmp_path / "tree.eswc", FOREST, COLUMNS, name="tree")

    assert (tmp_path / "tree.eswc").read_bytes() == TEXT.encode()
    assert read_eswc(tmp_path / "tree.eswc") == (FOREST, COLUMNS)
    assert read_swc(tmp_path / "tree.eswc") == FOREST


@given(seed=st.integers(0, 2**32 - 1), nodes=st.integers(0, 12), features=st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_write_then_read_is_the_same_bit_for_bit(
    seed: int, nodes: int, features: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(seed)
    parents = [int(rng.integers(-1, n)) for n in range(nodes)]
    forest = Forest(rng.normal(0, 1e4, (nodes, 3)), parents, rng.random(nodes))
    whole = [rng.integers(-5, 2**40, nodes) for _ in range(3)]
    real = [rng.normal(0, 1e6, nodes) for _ in range(2)]
    columns = EswcColumns(*whole, *real, rng.normal(size=(nodes, features)))
    path = tmp_path_factory.mktemp("round") / "trip.eswc"

    write_eswc(path, forest, columns)

    assert read_eswc(path, empty=True) == (forest, columns)


def test_a_new_tree_is_a_segment_of_its_own(tmp_path: Path) -> None:
    write_eswc(tmp_path / "a.eswc", FOREST)

    _, columns = read_eswc(tmp_path / "a.eswc")

    assert columns == EswcColumns.of(FOREST)
    assert columns.segments.tolist() == [0, 0, 1]


def test_columns_that_a_row_lacks_are_0(tmp_path: Path) -> None:
    path = tmp_path / "a.eswc"
    path.write_text("1 2 1 2 3 1 -1\n2\t2 4 2 3 1 1   9\n")

    forest, columns = read_eswc(path)

    assert forest.positions.tolist() == [[3, 2, 1], [3, 2, 4]]
    assert columns.segments.tolist() == [0, 9]
    assert columns.features.shape == (2, 0)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("1 2 1 2 3 1 -1 x", "line 2: seg_id 'x' is not a number"),
        ("1 2 1 2 3 1 -1 1 1.5", "line 2: level 1.5 is not a whole number"),
        ("1 2 1 2 3 1 -1 0 0 0 0 0 0.5 tip", "line 2: feature 2 'tip' is not a number"),
        ("1 2 1 2 3 1", "line 2: 6 columns where an SWC has 7"),
    ],
)
def test_a_broken_row_is_named_with_its_line(tmp_path: Path, row: str, words: str) -> None:
    (tmp_path / "a.eswc").write_text(f"# tree\n{row}\n")

    with pytest.raises(AnnotationError, match=words):
        read_eswc(tmp_path / "a.eswc")


def test_a_file_without_nodes_is_empty_only_where_that_is_expected(tmp_path: Path) -> None:
    write_eswc(tmp_path / "a.eswc", Forest([], []))

    forest, columns = read_eswc(tmp_path / "a.eswc", empty=True)
    assert len(forest) == len(columns.segments) == 0
    with pytest.raises(AnnotationError, match="no nodes"):
        read_eswc(tmp_path / "a.eswc")


def test_columns_of_another_forest_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="3 nodes cannot have the columns of 0"):
        write_eswc(tmp_path / "a.eswc", FOREST, EswcColumns.of(Forest([], [])))
    with pytest.raises(AnnotationError, match="value for each of 2 nodes"):
        EswcColumns(np.zeros(2, int), *[np.zeros(3, int)] * 2, *[np.zeros(3)] * 2)
    assert not list(tmp_path.iterdir())
