"""``neuroconn convert``: a microscopy volume becomes an OME-Zarr brain."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from neuroconn.cli.access import access_of, access_options
from neuroconn.cli.address import FolderType
from neuroconn.cli.bar import Bar
from neuroconn.config import find_preset, load_yaml, parse_assignments, resolve
from neuroconn.config.convert import ConvertSettings
from neuroconn.errors import InterruptedRunError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neuroconn.config.access import Access
    from neuroconn.volume.converter import ConvertProgress, ConvertReport

_SETTINGS = (
    "spacing", "chunk", "shard", "zarr_format", "compression", "downsample", "offset",
    "value_range", "dtype", "on_bad",
)  # fmt: skip
"""Options that are settings: a preset may state them too."""


class _Sides(click.ParamType):  # type: ignore[type-arg]
    """One side in voxels, or three: ``256`` or ``64,256,256``."""

    name = "n|z,y,x"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            sides = tuple(int(part) for part in value.replace("x", ",").split(","))
        except ValueError:
            sides = ()
        if len(sides) not in (1, 3):
            self.fail(f"{value!r} is not one side or three: 256, or 64,256,256", param, ctx)
        return sides[0] if len(sides) == 1 else sides


@click.command(name="convert")
@click.argument("source")
@click.argument("brain", type=FolderType())
@click.option(
    "--spacing",
    type=(float, float, float),
    metavar="Z Y X",
    help="Voxel size in µm; overrides what SOURCE says.",
)
@click.option("--channel", type=click.IntRange(min=0), help="Which channel, counted from 0.")
@click.option("--dataset", metavar="NAME", help="Which array of a container (HDF5, N5, Zarr, npz).")
@click.option(
    "--offset", type=int, help="Added to every voxel: 32768 keeps all of int16.", metavar="N"
)
@click.option(
    "--range",
    "value_range",
    type=(float, float),
    metavar="LOW HIGH",
    help="Values that become black and white, for real numbers or to store uint8.",
)
@click.option("--dtype", type=click.Choice(["uint8", "uint16"]), help="What is stored.")
@click.option("--chunk", type=_Sides(), help="Readable unit in voxels.  [default: 64]")
@click.option("--shard", type=_Sides(), help="Stored file in voxels, whole chunks.  [default: 256]")
@click.option(
    "--zarr-format",
    type=click.Choice(["3", "2"]),
    help="3: OME-Zarr 0.5. 2: OME-Zarr 0.4, for older readers.  [default: 3]",
)
@click.option(
    "--compression",
    type=click.Choice(["archive", "speed", "scratch"]),
    help="zstd 3, zstd 1 or lz4; all lossless.  [default: archive]",
)
@click.option(
    "--downsample",
    type=click.Choice(["max", "mean", "mode"]),
    help="Pyramid: max keeps thin neurites bright, mean is for measuring, mode for labels.  "
    "[default: max]",
)
@click.option(
    "--on-bad",
    type=click.Choice(["fail", "fill"]),
    help="Damaged places of SOURCE: list all and stop, or store zeros.  [default: fail]",
)
@click.option("--preset", default="default", show_default=True, help="A name, or a YAML file.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting.")
@click.option(
    "--scheduler",
    metavar="S",
    help="Spread over Dask workers: local:N, an address, a scheduler file or a site.",
)
@access_options
@click.option(
    "--engine",
    type=click.Choice(["auto", "tensorstore", "zarr"]),
    default="auto",
    show_default=True,
    help="What writes chunks; the voxels are the same.",
)
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
    /,
    source: str,
    brain: Path,
    *,
    channel: int | None,
    dataset: str | None,
    preset: str,
    assignments: tuple[str, ...],
    scheduler: str | None,
    engine: Literal["auto", "tensorstore", "zarr"],
    threads: int | None,
    memory_gib: float | None,
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Convert SOURCE to the OME-Zarr image BRAIN, with pyramid and intensity statistics.

    SOURCE is a TIFF of any kind, a folder of slices, a TeraFly tree, v3draw or v3dpbd, Imaris,
    HDF5, BigDataViewer, N5, NRRD, NIfTI, MetaImage, NumPy or Zarr (also behind s3:// and https://);
    neuroconn info SOURCE tells what it is. Rerunning the same command continues where the last one
    stopped; a finished BRAIN is left as it is. Exit code 1: done, with damaged places of SOURCE
    stored as zeros.
    """
    settings = _settings(preset, assignments, options)
    # Imported here so that `neuroconn --help` does not wait for zarr.
    from neuroconn.volume import convert

    quiet = bool((ctx.obj or {}).get("quiet"))
    access = access_of(options)
    with _client(scheduler, access) as client, Bar("converting", "bands", quiet=quiet) as bar:
        try:
            report = convert(
                source,
                brain,
                **settings.model_dump(),
                channel=channel,
                dataset=dataset,
                resume=resume,
                progress=_Follow(bar, quiet),
                engine=engine,
                threads=threads,
                memory_gib=memory_gib,
                client=client,
            )
        except KeyboardInterrupt:
            raise InterruptedRunError(
                f"interrupted; run the same command again to finish {brain}"
            ) from None
    click.echo(json.dumps(report.as_dict()) if as_json else _summary(report))
    ctx.exit(1 if report.bad else 0)


def _settings(
    preset: str, assignments: tuple[str, ...], options: dict[str, Any]
) -> ConvertSettings:
    """Preset, then ``--set``, then the options given by name."""
    path = find_preset("convert", preset)
    given = {key: options[key] for key in _SETTINGS if options[key] is not None}
    if "zarr_format" in given:
        given["zarr_format"] = int(given["zarr_format"])
    layers = load_yaml(path.read_text(encoding="utf-8"), source=str(path))
    return resolve(ConvertSettings, layers, parse_assignments(assignments), given, source="convert")


@contextmanager
def _client(scheduler: str | None, access: Access) -> Iterator[Any]:
    """Connect to workers, if any are asked for."""
    if scheduler is None:
        yield None
        return
    from neuroconn.sites import connect

    with connect(scheduler, resource=None, access=access) as client:
        yield client


class _Follow:
    """Shows progress on stderr: the predicted memory once, then the bar."""

    def __init__(self, bar: Bar, quiet: bool) -> None:
        self._bar, self._quiet = bar, quiet
        self._begun = False

    def __call__(self, progress: ConvertProgress) -> None:
        if not self._begun and not self._quiet:
            peak = progress.peak_bytes / (1 << 30)
            state = f"; {progress.bands_done} of them are done" if progress.bands_done else ""
            click.echo(f"{progress.bands} bands, at most {peak:.2f} GiB of memory{state}", err=True)
        self._begun = True
        self._bar.show(progress.bands_done, progress.bands)


def _summary(report: ConvertReport) -> str:
    shape = " x ".join(map(str, report.shape))
    if not report.bands_written:
        lines = [f"{report.brain} is complete ({shape} {report.dtype}): nothing to do"]
        return "\n".join(lines + _exceptions(report))
    spacing = "unknown" if report.spacing_um is None else " x ".join(map(str, report.spacing_um))
    shown = report.intensity["percentiles"]
    lines = [
        f"{report.source}: {shape} {report.dtype}, spacing {spacing}"
        f"{'' if report.spacing_um is None else ' µm'} (z, y, x)",
        f"intensity: median {shown['50']}, 99.9 % below {shown['99.9']}, "
        f"{report.intensity['zeros']:.1%} zeros",
        f"wrote {report.brain}: {len(report.levels)} levels by {report.downsample}, "
        f"{report.bands_written} of {report.bands} bands in {report.seconds:.1f} s",
    ]
    return "\n".join(lines + _exceptions(report))


def _exceptions(report: ConvertReport) -> list[str]:
    """Say what is not as it was in the source."""
    lines = [f"stored as zeros, since the source is damaged there: {bad}" for bad in report.bad]
    if report.clipped:
        lines.append(f"{report.clipped} voxels lay outside what the mapping keeps and were clipped")
    return lines
