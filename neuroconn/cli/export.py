"""``neuroconn export``: brain and distance map become a volume for Vaa3D."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from neuroconn.cli.access import access_of, access_options
from neuroconn.cli.address import AddressType, FolderType
from neuroconn.cli.box import ZYX, BoxType, crop_of
from neuroconn.cli.clients import clients
from neuroconn.config import find_preset
from neuroconn.config.base import read_settings
from neuroconn.config.overlay import OverlaySettings
from neuroconn.errors import InterruptedRunError

if TYPE_CHECKING:
    from neuroconn.exporter.report import Format
    from neuroconn.geometry import Box


@click.command(name="export")
@click.argument("brain", type=AddressType())
@click.argument("distance", type=AddressType())
@click.argument("output", type=FolderType())
@click.option(
    "--format",
    type=click.Choice(["terafly", "v3draw", "tiff"]),
    help="A tree of tiles for any size, or one file for a crop.  [default: what OUTPUT ends in, "
    ".v3draw, .raw, .tif or .tiff; else terafly]",
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
@click.option(
    "--box",
    type=BoxType(),
    help="Export a part: voxels of DISTANCE from the first of each range up to the second.",
)
@click.option("--start", type=(int, int, int), metavar="Z Y X", help="The same: its first voxel.")
@click.option("--shape", type=(int, int, int), metavar="Z Y X", help="And its voxels.")
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
@click.option(
    "--only-explored",
    is_flag=True,
    help="Leave out the tiles in which nobody looked anywhere: black, and no space.",
)
@click.option(
    "--update",
    type=FolderType(),
    metavar="OLD",
    help="A finished tree of the same settings, before the walk went on: only what changed since "
    "is made, the rest linked or copied.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Tiles made at once.")
@click.option(
    "--scheduler",
    metavar="S",
    help="Spread over Dask workers: local:N, an address, a scheduler file or a site; threads (the "
    "default) and sync stay in this process.",
)
@access_options
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    brain: Path | str,
    distance: Path | str,
    output: Path,
    format: Format | None,
    preset: str,
    assignments: tuple[str, ...],
    box: Box | None,
    start: ZYX | None,
    shape: ZYX | None,
    scheduler: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Write the OME-Zarr image BRAIN and its DISTANCE map as OUTPUT, a volume for Vaa3D.

    Neurites stand out, the image stays visible behind them. Rerunning the same command continues a
    TeraFly tree where the last run stopped; a finished OUTPUT is left as it is. When a walk has
    gone on since, --update OLD makes a new tree of the old one and what is new.
    """
    settings = read_settings(OverlaySettings, find_preset("overlay", preset), *assignments)
    # Imported here so that `neuroconn --help` does not wait for zarr.
    from neuroconn.exporter import export

    format = format or _format_of(output)
    unit: Literal["tiles", "planes"] = "tiles" if format == "terafly" else "planes"
    quiet, access = bool((ctx.obj or {}).get("quiet")), access_of(options)
    if scheduler == "sync":
        options["threads"] = 1
    with clients(scheduler, access) as client, _bar(unit, quiet=quiet) as progress:
        try:
            report = export(
                brain,
                distance,
                output,
                format=format,
                settings=settings,
                box=crop_of(box, start, shape),
                client=client,
                progress=progress,
                **options,
            )
        except KeyboardInterrupt:
            raise InterruptedRunError(
                f"interrupted; run the same command again to finish {output}"
            ) from None
    click.echo(json.dumps(report.as_dict()) if as_json else str(report))


def _format_of(output: Path) -> Format:
    from neuroconn.vaa3d.single import SUFFIXES

    named = (format for format, suffixes in SUFFIXES.items() if output.suffix.lower() in suffixes)
    return next(named, "terafly")


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
