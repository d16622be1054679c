"""``neuroconn trace``: a distance map becomes trees in an SWC."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neuroconn.cli.address import AddressType, FolderType
from neuroconn.cli.box import ZYX, BoxType, crop_of
from neuroconn.errors import InterruptedRunError
from neuroconn.tracing.settings import TraceSettings

if TYPE_CHECKING:
    from neuroconn.geometry import Box
    from neuroconn.tracing.tracer import TraceUnits

_DEFAULT = TraceSettings()


@click.command()
@click.argument("distance", type=AddressType())
@click.argument("output", type=FolderType())
@click.option(
    "--threshold",
    default=_DEFAULT.threshold,
    show_default=True,
    help="Distances below it are neurite, in voxels.",
)
@click.option(
    "--core", type=float, help="Drop trees that come nowhere nearer to a centreline, in voxels."
)
@click.option(
    "--spur",
    default=_DEFAULT.spur,
    show_default=True,
    help="Prune free branches shorter than this, in voxels.",
)
@click.option(
    "--shortest",
    default=_DEFAULT.shortest,
    show_default=True,
    help="Drop trees with less cable, in µm (in voxels with --units voxel).",
)
@click.option(
    "--bridge",
    default=_DEFAULT.bridge,
    show_default=True,
    help="Join ends that point at each other across so many voxels.",
)
@click.option(
    "--smooth",
    type=click.IntRange(min=0),
    default=_DEFAULT.smooth,
    show_default=True,
    help="Passes of smoothing along branches.",
)
@click.option(
    "--tolerance",
    default=_DEFAULT.tolerance,
    show_default=True,
    help="Leave out nodes so near to the line without them, in voxels.",
)
@click.option("--step", type=float, help="Instead, nodes evenly at most so many voxels apart.")
@click.option(
    "--units",
    type=click.Choice(["um", "voxel"]),
    help="What the SWC counts in: µm, or voxels if the map does not say how large they are. An "
    ".ano counts voxels.",
)
@click.option(
    "--type",
    "kind",
    type=click.IntRange(min=0),
    default=_DEFAULT.kind,
    show_default=True,
    help="SWC type of the nodes: 2 axon, 3 dendrite.",
)
@click.option(
    "--soma",
    "somas",
    type=(float, float, float),
    multiple=True,
    metavar="Z Y X",
    help="Voxel of a cell body: the tree there begins in it. Several may be given.",
)
@click.option(
    "--somas",
    "soma_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The same from a .marker, .apo, .ano, .csv or .swc file.",
)
@click.option("--brain", type=AddressType(), help="Measure radii in this image; else all are 1.")
@click.option("--box", type=BoxType(), help="Trace a part: voxels from the first up to the second.")
@click.option("--start", type=(int, int, int), metavar="Z Y X", help="The same: its first voxel.")
@click.option("--shape", type=(int, int, int), metavar="Z Y X", help="And its voxels.")
@click.option(
    "--block",
    type=click.IntRange(min=16),
    default=256,
    show_default=True,
    help="Voxels along a side thinned at once. Changes memory and speed, not the trees.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Threads."
)
@click.option("--force", is_flag=True, help="Replace OUTPUT.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    distance: Path | str,
    output: Path,
    units: TraceUnits | None,
    somas: tuple[tuple[float, float, float], ...],
    soma_file: Path | None,
    brain: Path | str | None,
    box: Box | None,
    start: ZYX | None,
    shape: ZYX | None,
    block: int,
    workers: int,
    force: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Trace the neurites of the map DISTANCE and write OUTPUT.

    OUTPUT is one file if it ends in .swc or .eswc, an annotation set for TeraFly if it ends in
    .ano, else a folder with an SWC for each tree. Nodes are in µm, in an .ano in voxels; parents
    come before their children, and the header says what was done.
    """
    chosen = TraceSettings(**settings)
    # Imported here so that `neuroconn --help` does not wait for zarr.
    from neuroconn.tracing import trace

    with _bar(quiet=bool((ctx.obj or {}).get("quiet"))) as progress:
        try:
            traced = trace(
                distance,
                output,
                settings=chosen,
                units=units,
                brain=brain,
                somas=_centres(somas, soma_file),
                box=crop_of(box, start, shape),
                block=block,
                workers=workers,
                force=force,
                progress=progress,
            )
        except KeyboardInterrupt:
            raise InterruptedRunError(f"interrupted; {output} was not written") from None
    click.echo(json.dumps(traced.report.as_dict()) if as_json else str(traced.report))


def _centres(
    somas: tuple[tuple[float, float, float], ...], file: Path | None
) -> list[tuple[float, float, float]]:
    if file is None:
        return list(somas)
    from neuroconn.annotation import read_points

    return [*somas, *((z, y, x) for z, y, x in read_points(file).tolist())]


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    bar = Progress(
        "thinning",
        BarColumn(),
        MofNCompleteColumn(),
        "blocks",
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        disable=quiet or not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
