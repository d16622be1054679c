"""Markers and apo files in full: byte for byte as Vaa3D writes them, and back."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.annotation import Landmark, read_landmarks, read_points, write_landmarks
from neuroconn.errors import AnnotationError

SUFFIXES = [".marker", ".apo"]
thousandths = st.integers(-5_000_000, 90_000_000).map(lambda n: n / 1000)
texts = st.text(
    st.characters(exclude_characters=",\r\n", exclude_categories=["Cs", "Cc"]), max_size=12
).map(str.strip)
colours = st.tuples(*[st.integers(0, 255)] * 3)


@st.composite
def landmarks(draw: st.DrawFn, suffix: str) -> Landmark:
    kept = {"position": st.tuples(*[thousandths] * 3), "name": texts, "comment": texts}
    if suffix == ".marker":
        kept |= {"radius": thousandths, "shape": st.integers(0, 9)}
    else:
        numbers = ("pixmax", "intensity", "deviation", "volume", "mass")
        kept |= {"order": texts, **dict.fromkeys(numbers, thousandths)}
    return Landmark(color=draw(colours), **{name: draw(kept[name]) for name in kept})


def written(path: Path, *marks: Landmark, **options: int) -> str:
    write_landmarks(path, marks, **options)  # type: ignore[arg-type]
    return path.read_bytes().decode()


def test_a_marker_counts_from_1_in_the_order_x_y_z(tmp_path: Path) -> None:
    assert written(tmp_path / "a.marker", Landmark((2, 1, 0))) == (
        "##x,y,z,radius,shape,name,comment, color_r,color_g,color_b\n"
        "1.000, 2.000, 3.000, 0.000, 1, , , 255,0,0\n"
    )


def test_an_apo_has_18_fields_and_goes_z_x_y(tmp_path: Path) -> None:
    text = written(tmp_path / "a.apo", Landmark((30, 20, 10), "soma1"))

    assert text == (
        "##n,orderinfo,name,comment,z,x,y, pixmax,intensity,sdev,volsize,mass,,,, "
        "color_r,color_g,color_b\n"
        "1, , soma1,, 30.000,10.000,20.000, 0.000,0.000,0.000,50.000,0.000,,,,255,0,0\n"
    )
    assert {line.count(",") for line in text.splitlines()} == {17}


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_write_then_read_is_the_same(
    suffix: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    marks = tuple(data.draw(st.lists(landmarks(suffix), max_size=5)))
    base = data.draw(st.sampled_from([0, 1]))
    path = tmp_path_factory.mktemp("round") / f"trip{suffix}"

    text = written(path, *marks, apo_base=base)

    found = read_landmarks(path, apo_base=base)  # type: ignore[arg-type]
    assert found == marks
    assert written(path, *found, apo_base=base) == text
    if marks:
        points = read_points(path, apo_base=base)  # type: ignore[arg-type]
        assert points.tolist() == [[*mark.position] for mark in marks]


def test_an_apo_may_count_from_1(tmp_path: Path) -> None:
    mark = Landmark((30, 20, 10))

    assert "31.000,11.000,21.000" in written(tmp_path / "a.apo", mark, apo_base=1)
    assert read_landmarks(tmp_path / "a.apo", apo_base=1) == (mark,)
    assert read_landmarks(tmp_path / "a.apo")[0].position == (31, 21, 11)


def test_what_other_tools_leave_out_has_its_default(tmp_path: Path) -> None:
    (tmp_path / "a.marker").write_text("x, y, z\n3,2,1\n3,2,1,0.5,2,tip,lost,1,2,\n")
    (tmp_path / "a.apo").write_text("5,,soma,,30,10,20\n")

    bare, named = read_landmarks(tmp_path / "a.marker")
    assert bare == Landmark((0, 1, 2))
    assert named == Landmark((0, 1, 2), "tip", "lost", (1, 2, 0), 0.5, 2)
    assert read_landmarks(tmp_path / "a.apo") == (Landmark((30, 20, 10), "soma"),)


def test_a_file_without_a_row_holds_no_landmark(tmp_path: Path) -> None:
    written(tmp_path / "a.apo")
    assert read_landmarks(tmp_path / "a.apo") == ()
    with pytest.raises(AnnotationError, match="no points"):
        read_points(tmp_path / "a.apo")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.marker", "## \n1,2,3,wide\n", "line 2, field 4: 'wide' is no radius"),
        ("a.marker", "1,2,3,0,1,a,b,c,1,2,3\n", "line 1, field 8: 'c' is no colour"),
        ("a.marker", "1,2,3,0,1,a,b,1,2,300\n", "colour 1,2,300"),
        ("a.apo", "1, ,a,,1,2,3,x\n", "line 1, field 8: 'x' is no pixmax"),
        ("a.apo", "1, ,a,,1,2\n", "line 1: 6 fields"),
        ("a.swc", "1 2 3 4 5 6 -1\n", "landmarks are in .marker, .apo and .ano"),
        ("a.apo", "II*\0\0\0\0\0", "no text: is it an image"),
    ],
)
def test_a_broken_file_is_named_with_line_and_field(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(AnnotationError, match=words):
        read_landmarks(tmp_path / name)


@pytest.mark.parametrize(
    "wrong",
    [
        Landmark((0, 0, 0), "a,b"),
        Landmark((0, 0, 0), comment="a\nb"),
        Landmark((0, 0, 0), order="a\rb"),
        Landmark((0, float("nan"), 0)),
        Landmark((0, 0, 0), mass=float("inf")),
    ],
)
def test_what_would_shift_columns_is_refused_and_the_old_file_stays(
    tmp_path: Path, wrong: Landmark
) -> None:
    before = written(tmp_path / "a.apo", Landmark((1, 2, 3)))

    with pytest.raises(ValueError, match=r"comma|finite"):
        write_landmarks(tmp_path / "a.apo", [wrong])

    assert (tmp_path / "a.apo").read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.apo"]


def test_only_vaa3ds_names_are_written(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"not '\.csv'"):
        write_landmarks(tmp_path / "a.csv", [Landmark((0, 0, 0))])
