from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.annotation import Forest, read_points, write_apo, write_marker, write_swc
from neuroconn.errors import AnnotationError

WRITERS = {".marker": write_marker, ".apo": write_apo}


def test_a_marker_row_is_as_vaa3d_writes_it(tmp_path: Path) -> None:
    write_marker(tmp_path / "a.marker", [(2, 1, 0)])

    assert (tmp_path / "a.marker").read_bytes() == (
        b"##x,y,z,radius,shape,name,comment, color_r,color_g,color_b\n"
        b"1.000, 2.000, 3.000, 0.000, 1, , , 255,0,0\n"
    )


def test_an_apo_row_is_as_vaa3d_writes_it(tmp_path: Path) -> None:
    write_apo(tmp_path / "a.apo", [(30, 20, 10)], names=["soma1"])

    header, row = (tmp_path / "a.apo").read_text().splitlines()
    assert row == ("1, , soma1,, 30.000,10.000,20.000, 0.000,0.000,0.000,50.000,0.000,,,,255,0,0")
    assert header.count(",") == row.count(",") == 17


@pytest.mark.parametrize("suffix", WRITERS)
@given(voxels=st.lists(st.tuples(*[st.integers(-5000, 50_000_000)] * 3), min_size=1, max_size=9))
@settings(max_examples=30, deadline=None)
def test_write_then_read_is_the_same_to_a_thousandth(
    suffix: str, voxels: list[tuple[int, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    points = np.asarray(voxels) / 1000
    path = tmp_path_factory.mktemp("round") / f"trip{suffix}"

    WRITERS[suffix](path, points)

    np.testing.assert_allclose(read_points(path), points, atol=1e-9)


def test_markers_of_other_tools_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.marker"
    path.write_bytes(b"\xef\xbb\xbf# hi\r\nx, y, z\r\n3,2,1\r\n\r\n 30.5 , 20, 10 ,0,1,soma\r\n")

    assert read_points(path).tolist() == [[0, 1, 2], [9, 19, 29.5]]


def test_a_csv_says_its_axes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('# seeds\n"X",name,Z,y\n1,soma,3,2\n4,tip,6,5\n')

    assert read_points(path).tolist() == [[3, 2, 1], [6, 5, 4]]


@pytest.mark.parametrize("between", [";", "\t"])
def test_a_csv_of_a_spreadsheet_is_read_too(tmp_path: Path, between: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("z;y;x\n1.5;2;3\n".replace(";", between))
    assert read_points(path).tolist() == [[1.5, 2, 3]]

    path.write_text("z;y;x\n1,5;2;3\n".replace(";", between))
    with pytest.raises(AnnotationError, match="line 2, field 1: '1,5' is no coordinate"):
        read_points(path)


def test_the_nodes_of_an_swc_are_points(tmp_path: Path) -> None:
    write_swc(tmp_path / "a.SWC", Forest([[3, 2, 1]], [-1]))
    assert read_points(tmp_path / "a.SWC").tolist() == [[3, 2, 1]]


BROKEN = {
    "a.marker": ("##x,y,z\n1,2\n", "line 2"),
    "b.marker": ("1,2,three\n", "'three'"),
    "c.marker": ("# nothing\n", "no points"),
    "d.apo": ("1, , s,, 3,nan,2\n", "line 1, field 6"),
    "e.csv": ("1,2,3\n", "header"),
    "f.csv": ("", "header"),
    "g.csv": ("z,y,x\n1,2,inf\n", "line 2"),
    "h.txt": ("1 2 3\n", r"\.txt"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    text, words = BROKEN[name]
    (tmp_path / name).write_text(text)

    with pytest.raises(AnnotationError, match=words):
        read_points(tmp_path / name)


def test_a_missing_file_is_an_annotation_error(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="cannot read"):
        read_points(tmp_path / "gone.csv")


def test_a_name_that_would_shift_the_columns_is_refused(tmp_path: Path) -> None:
    for names in (["a,b"], ["a\nb"], []):
        with pytest.raises(ValueError, match="name"):
            write_marker(tmp_path / "a.marker", [(0, 0, 0)], names=names)
    assert not (tmp_path / "a.marker").exists()


def test_a_point_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="finite"):
        write_apo(tmp_path / "a.apo", [(0, np.nan, 0)])
