from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.annotation import Forest, read_swc, write_swc
from neuroconn.errors import AnnotationError

Save = Callable[[str | bytes], Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "cell.swc"
        text = content.replace("; ", "\n") if isinstance(content, str) else content
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


@st.composite
def forests(draw: st.DrawFn) -> Forest:
    """Trees whose parents stand before or after their children."""
    count = draw(st.integers(1, 12))
    numbers = st.floats(-1e6, 1e6, allow_nan=False)
    order = np.asarray(draw(st.permutations(range(count))))
    parents = np.full(count, -1)
    for rank in range(1, count):
        above = draw(st.integers(-1, rank - 1))
        parents[order[rank]] = order[above] if above >= 0 else -1
    return Forest(
        np.asarray(draw(st.lists(st.tuples(*[numbers] * 3), min_size=count, max_size=count))),
        parents,
        np.asarray(draw(st.lists(st.floats(0, 1e3), min_size=count, max_size=count))),
        np.asarray(draw(st.lists(st.integers(0, 99), min_size=count, max_size=count))),
    )


ACCEPTED = {
    "a branch": ("1 1 0 0 0 1 -1; 2 2 1 0 0 1 1; 3 2 2 0 0 1 2; 4 2 2 1 0 1 2", 2 + 2**0.5, 1),
    "unsorted": ("3 2 2 0 0 1 2; 2 2 1 0 0 1 1; 1 1 0 0 0 1 -1", 2.0, 1),
    "several roots": ("1 2 0 0 0 1 -1; 2 2 1 0 0 1 1; 3 2 9 0 0 1 -1; 4 2 10 0 0 1 3", 2.0, 2),
    "id 0": ("0 1 0 0 0 1 -1; 1 2 1 0 0 1 0", 1.0, 1),
    "far ids": ("7 1 0 0 0 1 -1; 9000000000 2 1 0 0 1 7", 1.0, 1),
    "ESWC": ("1 1 0 0 0 1 -1 0 0 3 0; 2 2 1 0 0 1 1 0 0 3 0 17.5", 1.0, 1),
    "float ids": ("1.0 1 0 0 0 1 -1; 2.0 2 1 0 0 1 1.0", 1.0, 1),
    "a custom type": ("1 1 0 0 0 1 -1; 2 77 1 0 0 1 1", 1.0, 1),
    "tabs and blanks": ("  1\t1   0 0\t\t0 1 -1 \n\n\n 2 2 1 0 0 1 1\t", 1.0, 1),
    "comments": ("# µm\n#\n1 1 0 0 0 1 -1 # soma\n  # more\n2 2 1 0 0 1 1", 1.0, 1),
    "a link of no length": ("1 1 3 3 3 1 -1; 2 2 3 3 3 1 1", 0.0, 1),
    "radius 0": ("1 1 0 0 0 0 -1; 2 2 1 0 0 0 1", 1.0, 1),
    "exponents": ("1 1 0 0 0 1 -1; 2 2 1e1 0 0 1 1", 10.0, 1),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_tools_write_is_read(save: Save, name: str) -> None:
    text, length, roots = ACCEPTED[name]

    forest = read_swc(save(text))

    assert forest.length == pytest.approx(length)
    assert len(forest.roots) == roots


def test_a_byte_order_mark_and_windows_line_ends_are_read(save: Save) -> None:
    forest = read_swc(save(b"\xef\xbb\xbf1 1 0 0 0 1 -1\r\n2 2 1 0 0 1 1\r\n"))
    assert forest.length == 1.0


def test_a_header_in_another_encoding_does_no_harm(save: Save) -> None:
    assert read_swc(save(b"# unit \xb5m\n1 1 0 0 0 1 -1\n")).length == 0.0


REJECTED = {
    "cycle": (
        "1 2 0 0 0 1 3; 2 2 1 0 0 1 1; 3 2 2 0 0 1 2",
        ["line 1", "id 1", "cycle", "3 nodes"],
    ),
    "a cycle beside a tree": (
        "9 2 0 0 0 1 -1; 1 2 0 0 0 1 2; 2 2 1 0 0 1 1; 3 2 2 0 0 1 2",
        ["line 2", "cycle", "1, 2, 3"],
    ),
    "own parent": ("1 1 0 0 0 1 -1; 2 2 1 0 0 1 2", ["line 2", "id 2", "own parent"]),
    "missing parent": ("1 1 0 0 0 1 -1; 2 2 1 0 0 1 99", ["line 2", "id 2", "99"]),
    "parent 0 is not a root": ("1 1 0 0 0 1 0", ["line 1", "parent 0"]),
    "parent -2 is not a root": ("1 1 0 0 0 1 -2", ["line 1", "parent -2"]),
    "duplicate id": (
        "1 1 0 0 0 1 -1; 2 2 1 0 0 1 1; 2 2 5 0 0 1 1",
        ["line 3", "id 2", "line 2"],
    ),
    "nan": ("1 1 0 0 0 1 -1; 2 2 nan 0 0 1 1", ["line 2", "id 2", "x is nan"]),
    "inf": ("1 1 0 0 0 1 -1; 2 2 0 0 -inf 1 1", ["line 2", "id 2", "z is -inf"]),
    "nan id": ("nan 1 0 0 0 1 -1", ["line 1", "id is nan"]),
    "negative radius": ("1 1 0 0 0 1 -1; 2 2 1 0 0 -3 1", ["line 2", "id 2", "radius -3"]),
    "negative id": ("-1 1 0 0 0 1 -1", ["line 1", "id -1"]),
    "half an id": ("1.5 1 0 0 0 1 -1", ["line 1", "id 1.5"]),
    "6 columns": ("1 1 0 0 0 1 -1; # hi; 2 2 1 0 0 1", ["line 3", "6 columns"]),
    "commas": ("1,1,0,0,0,1,-1", ["line 1", "Commas"]),
    "a word": ("1 1 0 0 0 1 -1; 2 axon 1 0 0 1 1", ["line 2", "type 'axon'"]),
    "empty": ("", ["holds no nodes"]),
    "only a comment": ("# hi", ["holds no nodes"]),
}


@pytest.mark.parametrize("name", REJECTED)
def test_what_no_tree_can_be_is_refused_by_line_id_and_value(save: Save, name: str) -> None:
    text, words = REJECTED[name]

    with pytest.raises(AnnotationError) as caught:
        read_swc(save(text))

    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in ("cell.swc", *words) if word not in message] == []


@given(noise=st.binary(min_size=1, max_size=200))
@settings(max_examples=50, deadline=None)
def test_random_bytes_are_refused_in_one_line(
    noise: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("noise") / "noise.swc"
    path.write_bytes(noise + b"\nnot an swc")

    with pytest.raises(AnnotationError) as caught:
        read_swc(path)

    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_not_there_is_an_annotation_error(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"gone\.swc"):
        read_swc(tmp_path / "gone.swc")


def test_repair_takes_a_negative_radius_for_0(save: Save, caplog: pytest.LogCaptureFixture) -> None:
    forest = read_swc(save("1 1 0 0 0 -3 -1"), repair=True)

    assert forest.radii.tolist() == [0.0]
    assert "1 negative radii" in caplog.text


def test_columns_x_y_z_become_axes_2_1_0(save: Save) -> None:
    forest = read_swc(save("1 3 10 20 30 2.5 -1"))

    assert forest.positions.tolist() == [[30.0, 20.0, 10.0]]
    assert (forest.radii.tolist(), forest.kinds.tolist()) == ([2.5], [3])


def test_coordinates_are_not_rounded_on_reading(save: Save) -> None:
    assert read_swc(save("1 1 109.99799999999999 0 0 1 -1")).positions[0, 2] == 109.99799999999999


def test_a_chain_of_a_million_nodes_is_read_without_recursion(tmp_path: Path) -> None:
    path = tmp_path / "chain.swc"
    path.write_text(
        "0 2 0 0 0 1 -1\n" + "\n".join(f"{i} 2 {i} 0 0 1 {i - 1}" for i in range(1, 10**6))
    )

    assert read_swc(path).length == 10**6 - 1


def test_a_cycle_of_a_hundred_thousand_nodes_is_found(tmp_path: Path) -> None:
    path, count = tmp_path / "ring.swc", 100_000
    path.write_text("\n".join(f"{i} 2 {i} 0 0 1 {(i - 1) % count}" for i in range(count)))

    with pytest.raises(AnnotationError, match="100000 nodes reach no root"):
        read_swc(path)


@given(forest=forests())
@settings(max_examples=60, deadline=None)
def test_write_then_read_is_the_same_forest(
    forest: Forest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("round") / "trip.swc"

    write_swc(path, forest)

    assert read_swc(path) == forest


def test_rows_are_as_vaa3d_writes_them(tmp_path: Path) -> None:
    forest = Forest([[2, 1, 0], [2, 1, 0.5]], [-1, 0], [1, 1.25], [1, 2])

    write_swc(tmp_path / "a.swc", forest, name="cell\n1", comment="voxels")

    assert (tmp_path / "a.swc").read_bytes() == (
        b"#name cell 1\n#comment voxels\n##n,type,x,y,z,radius,parent\n"
        b"1 1 0.000 1.000 2.000 1.000 -1\n2 2 0.500 1.000 2.000 1.250 1\n"
    )


def test_a_value_three_decimals_would_change_is_written_in_full(tmp_path: Path) -> None:
    write_swc(tmp_path / "a.swc", Forest([[0, 0, 109.99799999999999]], [-1]))
    assert "109.99799999999999 0.000" in (tmp_path / "a.swc").read_text()
