"""TeraFly's annotation sets: an ``.ano`` names an ``.apo`` with points and an ``.eswc``.

Two lines, names relative to the ``.ano``::

    APOFILE=brain.ano.apo
    SWCFILE=brain.ano.eswc

Both count voxels of the finest level of the tree they were made in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from neuroconn.annotation.eswc import EswcColumns, read_eswc, write_eswc
from neuroconn.annotation.forest import Forest, concatenate
from neuroconn.annotation.landmarks import ApoBase, Landmark, read_landmarks, write_landmarks
from neuroconn.annotation.rows import read_lines, write_lines
from neuroconn.errors import AnnotationError

_POINTS, _TRACING = "APOFILE", "SWCFILE"


@dataclass(frozen=True, slots=True)
class Linked:
    """The files of a set."""

    points: Path | None
    """The ``.apo``; None if the set names none."""
    tracing: Path | None
    """The ``.eswc`` or ``.swc``; None if the set names none."""


@dataclass(frozen=True, slots=True)
class AnnotationSet:
    """What a proofreader left: points and traced neurites."""

    landmarks: tuple[Landmark, ...]
    forest: Forest
    """Voxels (z, y, x) of the finest level."""
    columns: EswcColumns
    """What the ``.eswc`` says of each node besides."""


def linked(path: str | Path) -> Linked:
    """Find the files of an ``.ano``.

    Names are taken beside the ``.ano``; a path that leads nowhere, as of another machine, is
    looked for there by its last part.

    Raises
    ------
    AnnotationError
        If the file cannot be read, names neither, or a file that it names is missing.
    """
    path = Path(path)
    named: dict[str, str] = {}
    for line in read_lines(path):
        key, equals, value = line.partition("=")
        if equals and value.strip():
            named.setdefault(key.strip().upper(), value.strip().strip('"'))
    if not {_POINTS, _TRACING} & set(named):
        raise AnnotationError(
            f"{path} has no line {_POINTS}=... and no {_TRACING}=...: it is no annotation set of "
            "TeraFly"
        )
    return Linked(*(_find(path, key, named.get(key)) for key in (_POINTS, _TRACING)))


def read_ano(path: str | Path, *, apo_base: ApoBase = 0) -> AnnotationSet:
    """Read an annotation set, with all that its files say.

    Parameters
    ----------
    path : str or Path
        An ``.ano``.
    apo_base : 0 or 1, optional
        What its ``.apo`` calls the first voxel along an axis.

    Returns
    -------
    AnnotationSet
        Without points or without nodes where the set has none.

    Raises
    ------
    AnnotationError
        If a file is missing or broken; the message names it and the line.
    """
    files = linked(path)
    marks = () if files.points is None else read_landmarks(files.points, apo_base=apo_base)
    nothing = concatenate([])
    forest, columns = nothing, EswcColumns.of(nothing)
    if files.tracing is not None:
        forest, columns = read_eswc(files.tracing, empty=True)
    return AnnotationSet(marks, forest, columns)


def write_ano(
    path: str | Path,
    landmarks: Sequence[Landmark] = (),
    forest: Forest | None = None,
    columns: EswcColumns | None = None,
    *,
    apo_base: ApoBase = 0,
    comment: str = "",
    notes: Sequence[str] = (),
) -> None:
    """Write an annotation set that TeraFly loads: NAME.ano, NAME.ano.apo and NAME.ano.eswc.

    The ``.ano`` comes last, so where it stands the others are whole.

    Parameters
    ----------
    path : str or Path
        Ends in ``.ano``; all three files are overwritten.
    landmarks : sequence of Landmark, optional
        Points, in voxels of the finest level.
    forest : Forest, optional
        Nodes, in the same voxels.
    columns : EswcColumns, optional
        What else to say of each node.
    apo_base : 0 or 1, optional
        What the ``.apo`` calls the first voxel along an axis.
    comment, notes
        For the header of the tracing.
    """
    path = Path(path)
    if path.suffix.lower() != ".ano":
        raise AnnotationError(f"{path}: TeraFly knows an annotation set by its name: call it *.ano")
    points, tracing = (path.with_name(f"{path.name}.{kind}") for kind in ("apo", "eswc"))
    write_landmarks(points, landmarks, apo_base=apo_base)
    trees = concatenate([]) if forest is None else forest
    write_eswc(tracing, trees, columns, name=path.stem, comment=comment, notes=notes)
    write_lines(path, [f"{_POINTS}={points.name}", f"{_TRACING}={tracing.name}"])


def _find(ano: Path, key: str, name: str | None) -> Path | None:
    if name is None:
        return None
    beside = ano.parent / PureWindowsPath(name).name
    found = next((p for p in (ano.parent / name, beside) if p.is_file()), None)
    if found is None:
        raise AnnotationError(
            f"{ano} names {name!r} as its {key}, which is not there: copy it beside the .ano, or "
            "correct the line"
        )
    return found
