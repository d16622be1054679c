"""``neuroconn convert``: a microscopy volume becomes an OME-Zarr brain."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neuroconn.config import find_preset, load_yaml, parse_assignments, resolve
from neuroconn.config.convert import ConvertSettings
from neuroconn.errors import InterruptedRunError

if TYPE_CHECKING:
    from rich.progress import Progress

    from neuroconn.volume.converter import ConvertProgress, ConvertReport


@click.command(name="convert")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("brain", type=click.Path(path_type=Path))
@click.option(
    "--spacing",
    type=(float, float, float),
    metavar="Z Y X",
    help="Voxel size in µm; overrides what SOURCE says.",
)
@click.option("--chunk", type=int, help="Readable unit in voxels.  [default: 64]")
@click.option("--shard", type=int, help="Stored file in voxels, whole chunks.  [default: 256]")
@click.option(
    "--downsample",
    type=click.Choice(["max", "mean"]),
    help="Pyramid: max keeps thin neurites bright, mean is for measuring.  [default: max]",
)
@click.option("--preset", default="default", show_default=True, help="A name, or a YAML file.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting.")
@click.option("--threads", type=click.IntRange(min=1), help="Shards encoded at once.")
@click.option("--memory", "memory_gib", type=float, metavar="GIB", help="Memory it may take.")
@click.option(
    "--resume/--no-resume",
    default=True,
    show_default=True,
    help="Continue an interrupted conversion, or refuse to.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    source: Path,
    brain: Path,
    spacing: tuple[float, float, float] | None,
    chunk: int | None,
    shard: int | None,
    downsample: str | None,
    preset: str,
    assignments: tuple[str, ...],
    threads: int | None,
    memory_gib: float | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Convert SOURCE to the OME-Zarr image BRAIN, with pyramid and intensity statistics.

    SOURCE is a TIFF, BigTIFF, OME-TIFF or ImageJ stack, a folder of TIFF slices, or another
    OME-Zarr image; uint8 or uint16. Rerunning the same command continues where the last one
    stopped; a finished BRAIN is left as it is.
    """
    options = {"spacing": spacing, "chunk": chunk, "shard": shard, "downsample": downsample}
    settings = _settings(preset, assignments, options)
    # Imported here so that `neuroconn --help` does not wait for zarr.
    from neuroconn.volume import convert

    quiet = bool((ctx.obj or {}).get("quiet"))
    with _bar(quiet) as bar:
        try:
            report = convert(
                source,
                brain,
                **settings.model_dump(),
                resume=resume,
                progress=_Follow(bar, quiet),
                threads=threads,
                memory_gib=memory_gib,
            )
        except KeyboardInterrupt:
            raise InterruptedRunError(
                f"interrupted; run the same command again to finish {brain}"
            ) from None
    click.echo(json.dumps(report.as_dict()) if as_json else _summary(report))


def _settings(
    preset: str, assignments: tuple[str, ...], options: dict[str, Any]
) -> ConvertSettings:
    """Preset, then ``--set``, then the options given by name."""
    path = find_preset("convert", preset)
    given = {key: value for key, value in options.items() if value is not None}
    layers = load_yaml(path.read_text(encoding="utf-8"), source=str(path))
    return resolve(ConvertSettings, layers, parse_assignments(assignments), given, source="convert")


def _bar(quiet: bool) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    return Progress(
        "converting",
        BarColumn(),
        MofNCompleteColumn(),
        "rows",
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        disable=quiet or not sys.stderr.isatty(),
    )


class _Follow:
    """Shows progress on stderr: the predicted memory once, then the bar."""

    def __init__(self, bar: Progress, quiet: bool) -> None:
        self._bar, self._quiet = bar, quiet
        self._task: Any = None

    def __call__(self, progress: ConvertProgress) -> None:
        if self._task is None:
            if not self._quiet:
                peak = progress.peak_bytes / (1 << 30)
                state = f"; {progress.rows_done} of them are done" if progress.rows_done else ""
                click.echo(
                    f"{progress.rows} rows, at most {peak:.2f} GiB of memory{state}", err=True
                )
            self._task = self._bar.add_task("", total=progress.rows)
        self._bar.update(self._task, completed=progress.rows_done)


def _summary(report: ConvertReport) -> str:
    shape = " x ".join(map(str, report.shape))
    if not report.rows_written:
        return f"{report.brain} is complete ({shape} {report.dtype}): nothing to do"
    spacing = "unknown" if report.spacing_um is None else " x ".join(map(str, report.spacing_um))
    shown = report.intensity["percentiles"]
    return (
        f"{report.source}: {shape} {report.dtype}, spacing {spacing}"
        f"{'' if report.spacing_um is None else ' µm'} (z, y, x)\n"
        f"intensity: median {shown['50']}, 99.9 % below {shown['99.9']}, "
        f"{report.intensity['zeros']:.1%} zeros\n"
        f"wrote {report.brain}: {len(report.levels)} levels by {report.downsample}, "
        f"{report.rows_written} of {report.rows} rows in {report.seconds:.1f} s"
    )
