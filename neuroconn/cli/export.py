"""``neuroconn export``: brain and distance map become a volume for Vaa3D."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import click

from neuroconn.cli.address import AddressType, FolderType
from neuroconn.config import find_preset
from neuroconn.config.base import read_settings
from neuroconn.config.overlay import OverlaySettings
from neuroconn.errors import InterruptedRunError, UsageError

ZYX = tuple[int, int, int]


@click.command(name="export")
@click.argument("brain", type=AddressType())
@click.argument("distance", type=AddressType())
@click.argument("output", type=FolderType())
@click.option(
    "--format",
    type=click.Choice(["terafly", "v3draw", "tiff"]),
    default="terafly",
    show_default=True,
    help="A tree of tiles for any size, or one file for a crop.",
)
@click.option(
    "--preset",
    default="clip-6-power-2",
    show_default=True,
    help="How image and distance are mixed: a name, or a YAML file.",
)
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting.")
@click.option(
    "--dtype",
    type=click.Choice(["uint16", "uint8"]),
    default="uint16",
    show_default=True,
    help="uint8 is what TeraFly shows of it, at half the size.",
)
@click.option(
    "--unexplored",
    type=click.Choice(["raw", "null"]),
    default="raw",
    show_default=True,
    help="Where nobody looked: the image alone, or black, which takes no space.",
)
@click.option("--start", type=(int, int, int), metavar="Z Y X", help="First voxel of a crop.")
@click.option("--shape", type=(int, int, int), metavar="Z Y X", help="Voxels of a crop.")
@click.option(
    "--tile", type=click.IntRange(min=4), default=256, show_default=True, help="Tile side."
)
@click.option(
    "--partition",
    type=click.Choice(["fixed", "balanced"]),
    default="fixed",
    show_default=True,
    help="Equal tiles and a remainder, or tiles that differ by a voxel.",
)
@click.option(
    "--compression",
    type=click.Choice(["zlib", "lzw", "none"]),
    default="none",
    show_default=True,
    help="none views fastest and every reader takes it; zlib is smallest, but v3d-py-helper reads "
    "it as zeros.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Tiles made at once.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    brain: Path | str,
    distance: Path | str,
    output: Path,
    preset: str,
    assignments: tuple[str, ...],
    start: ZYX | None,
    shape: ZYX | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Write the OME-Zarr image BRAIN and its DISTANCE map as OUTPUT, a volume for Vaa3D.

    Neurites stand out, the image stays visible behind them. Rerunning the same command continues a
    TeraFly tree where the last run stopped; a finished OUTPUT is left as it is.
    """
    settings = read_settings(OverlaySettings, find_preset("overlay", preset), *assignments)
    # Imported here so that `neuroconn --help` does not wait for zarr.
    from neuroconn.exporter import export

    unit: Literal["tiles", "planes"] = "tiles" if options["format"] == "terafly" else "planes"
    with _bar(unit, quiet=bool((ctx.obj or {}).get("quiet"))) as progress:
        try:
            report = export(
                brain,
                distance,
                output,
                settings=settings,
                box=_box(start, shape),
                progress=progress,
                **options,
            )
        except KeyboardInterrupt:
            raise InterruptedRunError(
                f"interrupted; run the same command again to finish {output}"
            ) from None
    click.echo(json.dumps(report.as_dict()) if as_json else str(report))


def _box(start: ZYX | None, shape: ZYX | None) -> Any:
    from neuroconn.geometry import Box

    if start is None and shape is None:
        return None
    if shape is None:
        raise UsageError("--start needs --shape, or nobody knows where the crop ends")
    return Box.of_shape(shape).shift(start or (0, 0, 0))


@contextmanager
def _bar(unit: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    bar = Progress(
        "exporting",
        BarColumn(),
        MofNCompleteColumn(),
        unit,
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        disable=quiet or not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
