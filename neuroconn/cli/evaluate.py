"""``neuroconn evaluate``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neuroconn.cli import markers as clicking
from neuroconn.cli.address import AddressType

METRICS = ("voxel", "ccq", "cldice", "betti", "erl", "breaks", "tlts", "apls")
"""As in `neuroconn.evaluation`, which takes a second to load."""

if TYPE_CHECKING:
    from neuroconn.annotation import Units


def _units(context: click.Context, option: click.Parameter, value: str | None) -> Units | None:
    """Turn ``um``, ``voxel`` or a number of µm into what the library takes."""
    if value is None:
        return None
    if value == "um":
        return "um"
    if value in ("voxel", "voxels"):
        return "voxel"
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is neither um, voxel nor a number of µm", context, option
        ) from None


def _progress(done: int, blocks: int) -> None:
    click.echo(f"\r{done} of {blocks} blocks", nl=done == blocks, err=True)


@click.command()
@click.argument("prediction", type=AddressType())
@click.argument("truth", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--threshold", default=3.0, show_default=True, help="Distances below it are neurite, in voxels."
)
@click.option(
    "--slack", default=3.0, show_default=True, help="Farthest two voxels match, in voxels."
)
@click.option(
    "--skeleton/--mask",
    "thin",
    default=True,
    show_default=True,
    help="Score the skeleton of the prediction, or all of it.",
)
@click.option(
    "--units",
    "--swc-units",
    "units",
    callback=_units,
    metavar="um|voxel|µm",
    help="What the SWC counts in: um, voxel, or a number of µm. Required for SWC.",
)
@click.option("--swc-y-flip", "y_flip", is_flag=True, help="The SWC counts y from the last row.")
@click.option(
    "--swc-origin",
    "origin",
    type=(float, float, float),
    default=(0.0, 0.0, 0.0),
    metavar="Z Y X",
    help="Where the SWC's zero lies, in µm (in voxels if it counts voxels).",
)
@click.option(
    "--metrics",
    multiple=True,
    type=click.Choice(METRICS),
    help="Measure this; repeat for more. Without it, all that the truth allows.",
)
@click.option(
    "--radius",
    type=float,
    help="Voxels nearer to a line of the truth are its mask; else the threshold.",
)
@click.option(
    "--window", default=64, show_default=True, help="Edge of the windows of Betti numbers."
)
@click.option("--chunk", type=int, help="Edge of the chunks for breaks; else the map's own.")
@click.option(
    "--seed", default=0, show_default=True, help="Of the paths, or clicks, that are drawn."
)
@click.option("--label", type=int, help="Value of neurites in a labelled volume; else all but 0.")
@click.option("--ignore", type=int, help="Value of voxels nobody labelled.")
@click.option("--planes", is_flag=True, help="Score each labelled plane on its own, in 2D.")
@clicking.options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(
    context: click.Context,
    /,
    prediction: Path | str,
    truth: tuple[Path, ...],
    threshold: float,
    slack: float,
    thin: bool,
    units: Units | None,
    y_flip: bool,
    origin: tuple[float, float, float],
    metrics: tuple[str, ...],
    radius: float | None,
    window: int,
    chunk: int | None,
    seed: int,
    label: int | None,
    ignore: int | None,
    planes: bool,
    markers: bool,
    as_json: bool,
    **_: Any,
) -> None:
    """Score the distance map or tracing PREDICTION against TRUTH.

    TRUTH is SWC files (or a folder of them), or a labelled TIFF or OME-Zarr volume. Printed are
    how well lines and voxels agree, and what became of connections: splits, merges, omissions,
    paths, and whether neurites break where chunks meet. Two SWC files are compared as lines.

    With --markers it is said how often a click in Vaa3D lands on a neurite, from any side: in the
    --brain as it is, and in the overlays of it and PREDICTION that `neuroconn export` writes.
    """
    if markers:
        clicking.run(context, context.params)
        return
    clicking.check(context, markers=False)
    # Imported here so that `neuroconn --help` does not wait for zarr.
    from neuroconn.evaluation import evaluate

    scores = evaluate(
        prediction,
        truth,
        metrics=metrics or None,
        threshold=threshold,
        slack=slack,
        radius=radius,
        thin=thin,
        window=window,
        chunk=chunk,
        units=units,
        y_flip=y_flip,
        origin=origin,
        label=label,
        ignore=ignore,
        planes=planes,
        seed=seed,
        progress=None if context.obj["quiet"] or not sys.stderr.isatty() else _progress,
    )
    click.echo(json.dumps(scores.as_dict(), allow_nan=False) if as_json else str(scores))
