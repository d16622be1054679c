"""Trees into SWC, ESWC or ANO files: all in one, or a folder with one each."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from neuroconn.annotation import Forest, Landmark, write_ano, write_eswc, write_swc
from neuroconn.errors import OutputError, StorageError
from neuroconn.tracing.report import TraceReport

_SUFFIXES = {".swc", ".eswc", ".ano"}
_TREES = "tree_*.swc"


def check_output(path: Path, *, force: bool) -> None:
    """Refuse an output that cannot be written, before anything is computed.

    Raises
    ------
    OutputError
        If something is there already that ``force`` does not allow to replace, or the folder it
        should go into is missing.
    """
    single = path.suffix.lower() in _SUFFIXES
    if not path.parent.is_dir():
        raise OutputError(f"there is no folder {path.parent} to write {path.name} into")
    if single and path.is_dir():
        raise OutputError(f"{path} is a folder; give a file name, or a folder without .swc")
    if not single and path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file and not called .swc; give OUT.swc, or a new folder")
    if not single and path.is_dir():
        strangers = [item.name for item in path.iterdir() if not item.match(_TREES)]
        if strangers:
            raise OutputError(
                f"{path} holds {strangers[0]}, which is no tree of ours; give another folder"
            )
    parts = [path]
    if path.suffix.lower() == ".ano":
        parts += [path.with_name(f"{path.name}.{kind}") for kind in ("apo", "eswc")]
    taken = [p for p in parts if p.exists() and (single or any(p.iterdir()))]
    if taken and not force:
        raise OutputError(f"{taken[0]} is there already; --force replaces it")


def write_trees(
    path: Path,
    forest: Forest,
    report: TraceReport,
    *,
    landmarks: Sequence[Landmark] = (),
    force: bool = False,
) -> None:
    """Write a file whole or not at all; or a folder, whose old trees are removed.

    Parameters
    ----------
    path : Path
        Ends in ``.swc``, ``.eswc`` or ``.ano``; else a folder.
    forest, report
        Trees, and what the header says.
    landmarks : sequence of Landmark, optional
        Points of an ``.ano``; other files have no room for them.
    force : bool, optional
        Replace what is there.

    Raises
    ------
    StorageError
        If the disk is full or refuses.
    """
    check_output(path, force=force)
    try:
        if path.suffix.lower() in _SUFFIXES:
            _write(path, forest, report, landmarks)
            return
        path.mkdir(exist_ok=True)
        for old in path.glob(_TREES):
            old.unlink()
        trees = split(forest)
        digits = max(4, len(str(len(trees))))
        for number, tree in enumerate(trees, 1):
            _write(path / f"tree_{number:0{digits}}.swc", tree, report)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else error.strerror or str(error)
        raise StorageError(
            f"cannot write {path}: {reason}; the old file, if any, is as it was"
        ) from error


def split(forest: Forest) -> list[Forest]:
    """Return the trees of a forest in which parents come before their children, tree by tree."""
    bounds = [*forest.roots.tolist(), len(forest)]
    trees = []
    for first, stop in pairwise(bounds):
        part = slice(first, stop)
        parents = np.where(forest.parents[part] < 0, -1, forest.parents[part] - first)
        trees.append(
            Forest(forest.positions[part], parents, forest.radii[part], forest.kinds[part])
        )
    return trees


def _write(
    path: Path, forest: Forest, report: TraceReport, landmarks: Sequence[Landmark] = ()
) -> None:
    suffix = path.suffix.lower()
    if suffix == ".ano":
        write_ano(path, landmarks, forest, comment="traced", notes=report.notes())
        return
    write = write_eswc if suffix == ".eswc" else write_swc
    write(path, forest, name=path.stem, comment="traced", notes=report.notes())
