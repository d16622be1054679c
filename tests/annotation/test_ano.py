"""TeraFly's annotation sets, and what the commands that take an SWC make of them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neuroconn.annotation import (
    EswcColumns,
    Forest,
    Landmark,
    read_ano,
    read_forest,
    read_landmarks,
    read_points,
    swc_files,
    write_ano,
    write_landmarks,
)
from neuroconn.errors import AnnotationError
from neuroconn.geometry import Frame

MARKS = (Landmark((30, 20, 10), "soma 1"), Landmark((3, 2, 1), color=(0, 255, 0)))
FOREST = Forest([[3, 2, 1], [3, 2, 5]], [-1, 0], kinds=[2, 2])
COLUMNS = EswcColumns(*[np.array([4, 4])] * 3, *[np.array([1.0, 2.0])] * 2)


@pytest.fixture
def ano(tmp_path: Path) -> Path:
    write_ano(tmp_path / "brain.ano", MARKS, FOREST, COLUMNS)
    return tmp_path / "brain.ano"


def test_two_lines_name_two_files_beside_it(ano: Path) -> None:
    assert ano.read_bytes() == b"APOFILE=brain.ano.apo\nSWCFILE=brain.ano.eswc\n"
    assert {p.name for p in ano.parent.iterdir()} == {
        "brain.ano",
        "brain.ano.apo",
        "brain.ano.eswc",
    }


def test_write_then_read_is_the_same(ano: Path) -> None:
    found = read_ano(ano)

    assert (found.landmarks, found.forest, found.columns) == (MARKS, FOREST, COLUMNS)
    assert read_landmarks(ano) == MARKS


def test_a_set_of_nothing_is_a_set(tmp_path: Path) -> None:
    write_ano(tmp_path / "a.ano")

    found = read_ano(tmp_path / "a.ano")

    assert (found.landmarks, len(found.forest)) == ((), 0)
    with pytest.raises(AnnotationError, match="no points"):
        read_points(tmp_path / "a.ano")


def test_its_points_are_those_marked_and_then_those_traced(ano: Path) -> None:
    assert read_points(ano).tolist() == [[30, 20, 10], [3, 2, 1], [3, 2, 1], [3, 2, 5]]


def test_it_may_hold_points_alone(tmp_path: Path) -> None:
    write_landmarks(tmp_path / "p.apo", MARKS)
    (tmp_path / "a.ano").write_text("APOFILE=p.apo\n")

    assert len(read_points(tmp_path / "a.ano")) == 2
    with pytest.raises(AnnotationError, match="no SWCFILE: it holds points"):
        swc_files(tmp_path / "a.ano")


def test_it_is_a_tracing_wherever_an_swc_is(ano: Path) -> None:
    frame = Frame((1.0, 1.0, 1.0))

    assert read_forest(ano, units="voxel", frame=frame) == FOREST
    assert swc_files(ano) == [ano.with_name("brain.ano.eswc")]


def test_a_folder_counts_its_tracing_once(ano: Path) -> None:
    assert swc_files(ano.parent) == [ano.with_name("brain.ano.eswc")]

    elsewhere = ano.parent / "sets"
    elsewhere.mkdir()
    (elsewhere / "b.ano").write_text("SWCFILE=../brain.ano.eswc\n")
    assert [p.resolve() for p in swc_files(elsewhere)] == [ano.with_name("brain.ano.eswc")]


def test_names_of_other_machines_are_looked_for_beside_it(ano: Path) -> None:
    ano.write_bytes(
        b"APOFILE=C:\\Users\\me\\brain.ano.apo\r\nswcfile = /home/me/brain.ano.eswc\r\nX=1\r\n"
    )
    assert read_ano(ano).landmarks == MARKS


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda ano: ano.with_name("brain.ano.apo").unlink(), "'brain.ano.apo' as its APOFILE"),
        (lambda ano: ano.with_name("brain.ano.eswc").unlink(), "'brain.ano.eswc' as its SWCFILE"),
        (lambda ano: ano.write_text("1 2 3 4 5 6 -1\n"), "no annotation set of TeraFly"),
        (lambda ano: ano.unlink(), "cannot read"),
        (lambda ano: ano.with_name("brain.ano.eswc").write_text("1 2 3\n"), "eswc, line 1"),
        (lambda ano: ano.with_name("brain.ano.apo").write_text("1,2\n"), "apo, line 1"),
    ],
)
def test_a_broken_set_is_named_with_the_file_at_fault(
    ano: Path, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(ano)

    for read in (read_ano, read_points):
        with pytest.raises(AnnotationError, match=words):
            read(ano)


def test_the_set_moves_with_its_files(ano: Path, tmp_path: Path) -> None:
    shutil.copytree(ano.parent, tmp_path / "copy")
    shutil.move(tmp_path / "copy", tmp_path / "moved")
    for file in ano.parent.glob("brain.ano*"):
        file.unlink()

    assert read_ano(tmp_path / "moved" / "brain.ano").forest == FOREST


def test_the_set_itself_comes_last(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="2 nodes"):
        write_ano(tmp_path / "a.ano", MARKS, FOREST, EswcColumns.of(Forest([], [])))
    with pytest.raises(AnnotationError, match=r"call it \*\.ano"):
        write_ano(tmp_path / "a.txt", MARKS)
    assert not (tmp_path / "a.ano").exists()
