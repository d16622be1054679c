"""``neuroconn check-vaa3d``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neuroconn.cli.bar import Bar
from neuroconn.errors import DataError, InterruptedRunError

if TYPE_CHECKING:
    from neuroconn.vaa3d.conformance import ConformanceReport, LevelFacts, RepairReport

SHOWN = 3
"""Places of one rule that the table for people names."""


@click.command(name="check-vaa3d")
@click.argument("tree", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--repair",
    is_flag=True,
    help="First mend what can be mended without touching a voxel, keeping the old bytes.",
)
@click.option("--undo", is_flag=True, help="First take the latest repair back.")
@click.option(
    "--spacing",
    type=(float, float, float),
    metavar="Z Y X",
    help="Voxel size of the finest level in µm, for --repair to write.",
)
@click.option("--layout", is_flag=True, help="Names, tables and presence only; open no tile.")
@click.option(
    "--pixels", is_flag=True, help="Decode every tile too, and compare levels with each other."
)
@click.option("--strict", is_flag=True, help="Warnings count as well.")
@click.option("--threads", type=click.IntRange(min=1), help="Folders looked into at once.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    tree: Path,
    repair: bool,
    undo: bool,
    spacing: tuple[float, float, float] | None,
    as_json: bool,
    strict: bool,
    **depth: Any,
) -> None:
    """Check that TREE, a TeraFly volume whoever wrote it, opens in Vaa3D and shows its voxels.

    Every rule of the format is checked: levels, names, mdata.bin byte by byte, and the tags of
    every tile. An error means that the tree will not open or shows wrong voxels; a warning, that
    it is legal but troublesome. Nothing is changed without --repair.

    --repair writes PageNumber tags, mdata.bin and .iim.format where they are wrong. What it changes
    is kept in TREE/.repair-backup, and --undo puts it back.

    Exit code 0: sound; 3: not sound.
    """
    if (repair and undo) or (depth["layout"] and depth["pixels"]):
        raise click.UsageError("--repair and --undo, or --layout and --pixels, exclude each other")
    if spacing is not None and (not repair or min(spacing) <= 0):
        raise click.UsageError("--spacing goes with --repair, and must be above 0")
    try:
        done = _mend(ctx, tree, repair, undo, spacing, depth["threads"])
        report = _check(ctx, tree, **depth)
    except KeyboardInterrupt:
        raise InterruptedRunError("interrupted; run the same command again") from None
    if as_json:
        click.echo(json.dumps(report.as_dict() | done))
    else:
        for line in (*_repair_lines(done), *report_lines(report)):
            click.echo(line)
    bad = not report.sound or (strict and report.count("warning"))
    ctx.exit(DataError.exit_code if bad else 0)


def _mend(
    ctx: click.Context,
    tree: Path,
    repair: bool,
    undo: bool,
    spacing: tuple[float, float, float] | None,
    threads: int | None,
) -> dict[str, Any]:
    from neuroconn.vaa3d import conformance

    if undo:
        backup, files = conformance.undo(tree)
        return {"undone": {"files": files, "backup": str(backup)}}
    if not repair:
        return {}
    with Bar("repairing", "tiles", quiet=bool((ctx.obj or {}).get("quiet"))) as bar:
        report: RepairReport = conformance.repair_vaa3d(
            tree, spacing_um=spacing, threads=threads, progress=bar.show
        )
    return {"repair": report.as_dict()}


def _check(
    ctx: click.Context, tree: Path, layout: bool, pixels: bool, threads: int | None
) -> ConformanceReport:
    from neuroconn.vaa3d.conformance import check_vaa3d

    with Bar("checking", "tiles", quiet=bool((ctx.obj or {}).get("quiet"))) as bar:
        return check_vaa3d(
            tree, tiles=not layout, pixels=pixels, threads=threads, progress=bar.show
        )


def report_lines(report: ConformanceReport) -> Iterator[str]:
    """Write a report for people: the levels, then each broken rule with places and mend."""
    yield from _table([_level_row(level) for level in report.levels])
    times = {(rule, kind): n for rule, kind, n in report.counts}
    for (rule, severity), group in groupby(report.findings, lambda f: (f.rule, f.severity)):
        found = list(group)
        yield ""
        yield f"{severity:<8} {rule}"
        for one in found[:SHOWN]:
            yield f"         {one.file}: {one.what}"
        more = times[rule, severity] - min(SHOWN, len(found))
        if more:
            yield f"         and at {_count(more, 'more place')}"
        yield f"         why:  {found[0].as_dict()['why']}"
        yield f"         mend: {found[0].mend}"
    yield ""
    yield _verdict(report)


def _verdict(report: ConformanceReport) -> str:
    errors, warnings = report.count("error"), report.count("warning")
    if errors:
        told = f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
        return f"{report.tree} is not sound: {told}"
    tiles = sum(level.tiles for level in report.levels)
    said = f", {_count(warnings, 'warning')}" if warnings else ""
    return f"{report.tree} is sound: {_count(tiles, 'tile')}{said}"


def _level_row(level: LevelFacts) -> list[str]:
    spacing = "unknown" if level.spacing_um is None else f"{_by(level.spacing_um)} µm"
    empty = f" ({level.empty:,} empty)" if level.empty else ""
    kinds = ", ".join(f"{n:,} {name}" for name, n in level.encodings)
    made = [f"{level.made_by} of the level before"] if level.made_by else []
    return [
        level.folder,
        "unknown" if level.shape is None else _by(level.shape),
        spacing,
        level.dtype or "unknown",
        f"{_count(level.tiles, 'tile')}{empty}",
        "; ".join([kinds, *made] if kinds else made),
    ]


def _table(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _repair_lines(done: dict[str, Any]) -> Iterator[str]:
    if "undone" in done:
        yield f"put {_count(done['undone']['files'], 'file')} back from {done['undone']['backup']}"
        yield ""
    if "repair" not in done:
        return
    repair = done["repair"]
    if repair["tiles"]:
        yield f"mended   PageNumber of {_count(repair['tiles'], 'tile')}"
    for one in repair["mended"]:
        if not one["file"].endswith((".tif", ".tiff")):
            yield f"mended   {one['file']}: {one['what']}"
    for one in repair["refused"]:
        yield f"left     {one['file']}: {one['why']}"
    kept = f"the old bytes are in {repair['backup']}; --undo puts them back"
    yield kept if repair["backup"] else "nothing was changed"
    yield ""


def _count(number: int, what: str) -> str:
    """Write a number of things.

    Examples
    --------
    >>> _count(1, "tile"), _count(1234, "tile")
    ('1 tile', '1,234 tiles')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _by(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)
