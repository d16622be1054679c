"""A whole tree against the rules: each level by itself, the levels against each other.

Tiles are looked into a folder at a time, by threads, and findings are kept in bounded number; what
grows with the volume is one name a folder. Cost: about 3 ms a tile of 256 pages where the disk is
quick (see ``tests/benchmarks``); on a network share, one round trip a page, in parallel.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from pathlib import Path

from neuroconn.errors import VolumeError
from neuroconn.vaa3d.conformance.findings import ConformanceReport, Finding, Findings, finding
from neuroconn.vaa3d.conformance.layout import step_between
from neuroconn.vaa3d.conformance.level import ColumnJob, ColumnResult, LevelCheck
from neuroconn.vaa3d.conformance.order import in_order
from neuroconn.vaa3d.named import named_shape

Progress = Callable[[int, int], None]
PARTIAL = ".partial"
VIEW = 256
MOST_LEVELS = 10


def check_vaa3d(
    tree: str | Path,
    *,
    tiles: bool = True,
    pixels: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ConformanceReport:
    """Hold a TeraFly tree, whoever wrote it, against every known rule of the format.

    Parameters
    ----------
    tree : path
        The folder of the ``RES(...)`` folders. Nothing in it is changed.
    tiles : bool, optional
        Open every tile and read its tags. Without it, layout, tables, names and presence are
        checked, which takes one listing a folder.
    pixels : bool, optional
        Decode every tile too, and compare each level with the one it was made of. Memory stays
        below 100 MB a thread.
    threads : int, optional
        Folders looked into at once; four times the processors, 16 at most, if not given.
    progress : callable, optional
        Called with the tiles looked at so far and their number.

    Returns
    -------
    ConformanceReport

    Raises
    ------
    VolumeError
        If there is no level to check.

    Examples
    --------
    >>> report = check_vaa3d("brain/")  # doctest: +SKIP
    >>> report.sound, report.rules  # doctest: +SKIP
    (False, {'tile.page-number'})
    """
    began, root = time.monotonic(), Path(tree)
    levels = [LevelCheck(root, name) for name in level_folders(root)]
    findings = Findings()
    for level in levels:
        findings.add(level.judge_table())
    levels.sort(key=lambda level: -math.prod(level.shape or (0,)))
    findings.add(_judge_tree(root, levels))
    with ThreadPoolExecutor(threads or min(16, 4 * len(os.sched_getaffinity(0)))) as pool:
        _look_at_tiles(levels, findings, pool, progress, headers=tiles)
        if pixels:
            from neuroconn.vaa3d.conformance.pixels import judge_pixels

            findings.add(judge_pixels(levels, pool, progress))
    counts = tuple((rule, kind, n) for (rule, kind), n in sorted(findings.counts.items()))
    return ConformanceReport(
        tree=str(tree),
        levels=tuple(level.facts() for level in levels),
        findings=findings.ordered(),
        counts=counts,
        seconds=time.monotonic() - began,
    )


def level_folders(root: Path) -> list[str]:
    """Return the names of a tree's levels, in the order of the alphabet.

    Raises
    ------
    VolumeError
        If there is none.
    """
    try:
        with os.scandir(root) as entries:
            found = sorted(e.name for e in entries if e.name.startswith("RES") and e.is_dir())
    except OSError as error:
        raise VolumeError(f"{root} cannot be read: {error.strerror}") from error
    if found:
        return found
    if root.name.startswith("RES"):
        raise VolumeError(f"{root} is one level of a TeraFly tree: name {root.parent} instead")
    raise VolumeError(f"{root} holds no RES(...) folder, so it is not a TeraFly tree")


def _look_at_tiles(
    levels: list[LevelCheck],
    findings: Findings,
    pool: ThreadPoolExecutor,
    progress: Progress | None,
    *,
    headers: bool,
) -> None:
    done, total = 0, sum(level.tiles for level in levels)

    def look(at: tuple[LevelCheck, ColumnJob]) -> tuple[LevelCheck, ColumnResult]:
        return at[0], at[0].look(at[1], headers=headers)

    jobs = ((level, job) for level in levels for job in level.jobs())
    for level, result in in_order(pool, look, jobs):
        level.take(result)
        findings.add(result.findings)
        done += result.tiles
        if progress is not None:
            progress(done, total)
    for level in levels:
        findings.add(level.strays())
        if packed := level.encodings.get("zlib"):
            findings.add([finding("level.zlib", level.name, f"{packed} tiles")])
        if not level.tabled and headers:
            findings.add(_judge_layout(level))


def _judge_layout(level: LevelCheck) -> Iterator[Finding]:
    """Say whether a level without a table could be laid out by its names."""
    from neuroconn.vaa3d.conformance.facts import plain_facts
    from neuroconn.vaa3d.named import table_from_names

    try:
        table_from_names(level.path, plain_facts)
    except VolumeError as error:
        yield finding("level.layout", level.name, str(error))


def _judge_tree(root: Path, levels: list[LevelCheck]) -> Iterator[Finding]:
    if len(levels) < 2:
        yield finding("tree.levels", ".", f"{len(levels)} RES folder")
    if len(levels) > MOST_LEVELS:
        yield finding("tree.many-levels", ".", f"{len(levels)} RES folders")
    if "NULL.tif" in str(root.absolute()):
        yield finding("tree.null-path", ".", str(root.absolute()))
    if (root / PARTIAL).is_dir():
        yield finding("tree.unfinished", PARTIAL, "work in progress lies there")
    shapes = [level.shape for level in levels]
    if shapes[-1] is not None and max(shapes[-1]) > VIEW:
        yield finding("tree.coarsest", levels[-1].name, f"{shapes[-1]} voxels (z, y, x)")
    if shapes[0] is not None and max(shapes[0]) <= VIEW:
        yield finding("tree.small", levels[0].name, f"{shapes[0]} voxels (z, y, x)")
    yield from _judge_kinds(levels)
    yield from chain.from_iterable(_judge_name(level) for level in levels)
    yield from chain.from_iterable(_judge_step(*pair) for pair in pairwise(levels))


def _judge_kinds(levels: list[LevelCheck]) -> Iterator[Finding]:
    sizes = Counter(level.itemsize for level in levels if level.itemsize is not None)
    if len(sizes) > 1:
        told = ", ".join(f"{level.name}: {level.itemsize}" for level in levels)
        yield finding("tree.dtype", ".", f"bytes a voxel: {told}")
    widths: Counter[int] = sum((level.widths for level in levels), Counter())
    if len(widths) > 1:
        usual, _ = widths.most_common(1)[0]
        odd = next(level.name for level in levels if set(level.widths) - {usual})
        yield finding("names.width", odd, f"numbers of {sorted(widths)} digits")


def _judge_name(level: LevelCheck) -> Iterator[Finding]:
    named = named_shape(level.path)
    if named is None:
        yield finding("tree.level-name", level.name, "it is not called RES(YxXxZ)")
    elif level.header is not None and named != level.header.shape:
        what = f"its mdata.bin says {level.header.shape} voxels (z, y, x)"
        yield finding("tree.level-name", level.name, what)


def _judge_step(fine: LevelCheck, coarse: LevelCheck) -> Iterator[Finding]:
    """Check a level against the next finer one."""
    if fine.shape is None or coarse.shape is None:
        return
    pairs = list(zip(fine.shape, coarse.shape, strict=True))
    if fine.shape == coarse.shape or any(m > n for n, m in pairs):
        what = f"{coarse.shape} voxels (z, y, x) after {fine.shape}"
        yield finding("tree.order", coarse.name, what)
        return
    step = step_between(fine.shape, coarse.shape)
    if step is None:
        what = f"{coarse.shape} voxels (z, y, x) are not {fine.shape} halved and rounded down"
        yield finding("tree.halving", coarse.name, what)
    if fine.header is None or coarse.header is None:
        return
    if step is not None:
        wanted = tuple(v * k for v, k in zip(fine.header.spacing_um, step, strict=True))
        if not _near(wanted, coarse.header.spacing_um):
            what = f"{coarse.header.spacing_um} µm (z, y, x), {fine.name} makes it {wanted}"
            yield finding("tree.voxel-size", f"{coarse.name}/mdata.bin", what)
    if not _near(fine.header.origin_um, coarse.header.origin_um):
        what = f"{coarse.header.origin_um} µm (z, y, x), in {fine.name} {fine.header.origin_um}"
        yield finding("tree.origin", f"{coarse.name}/mdata.bin", what)


def _near(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return all(math.isclose(x, y, rel_tol=1e-4, abs_tol=1e-3) for x, y in zip(a, b, strict=True))
