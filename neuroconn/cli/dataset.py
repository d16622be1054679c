"""``neuroconn dataset``: annotated brains become crops to train on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from neuroconn.cli.bar import Bar
from neuroconn.config import load_yaml, parse_assignments, resolve
from neuroconn.config.crops import DatasetSettings
from neuroconn.errors import ConfigError, InterruptedRunError

_OF_BRAIN = ("units", "y_flip", "flip", "axes", "alignment", "traced_in")
"""Options that say how the SWC files of BRAIN lie on it."""
_SETTINGS = (
    "size", "stride", "jitter", "minimum_voxels", "background", "clip", "compression",
    "mixed_spacing", "seed",
)  # fmt: skip
"""Options that are settings of the whole dataset."""


class _Units(click.ParamType):  # type: ignore[type-arg]
    name = "um|voxel|µm"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        words = {"um": "um", "µm": "um", "voxel": "voxel", "voxels": "voxel"}
        if value in words or not isinstance(value, str):
            return words.get(value, value)
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither um, voxel nor a number of µm", param, ctx)


@click.command(name="dataset")
@click.argument(
    "paths", nargs=-1, required=True, metavar="[BRAIN SWC...] OUTPUT", type=click.Path()
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Settings as YAML, with several brains; in place of BRAIN and SWC.",
)
@click.option(
    "--units",
    "--swc-units",
    "units",
    type=_Units(),
    help="What the SWC counts in: um, voxel, or a number of µm. Required with BRAIN.",
)
@click.option(
    "--y-flip/--no-y-flip",
    "--swc-y-flip/--no-swc-y-flip",
    "y_flip",
    default=None,
    help="The SWC counts y from the last row.",
)
@click.option("--flip", metavar="AXES", help="Axes the SWC counts from the far side, such as zy.")
@click.option("--axes", metavar="ORDER", help="What the columns of the SWC count.  [default: xyz]")
@click.option(
    "--traced-in",
    metavar="EXPORT",
    help="The TeraFly tree or crop the SWC was traced in, if that is a part of BRAIN: its voxels "
    "are what the SWC counts.",
)
@click.option(
    "--no-alignment-check",
    "alignment",
    flag_value="warn",
    help="Warn, rather than stop, if the SWC lies beside the neurites.",
)
@click.option("--size", type=click.IntRange(min=8), help="Edge of a crop.  [default: 128]")
@click.option("--stride", type=click.IntRange(min=1), help="From crop to crop.  [default: size]")
@click.option("--jitter", type=click.IntRange(min=0), help="Move crops at random.  [default: 0]")
@click.option(
    "--minimum",
    "minimum_voxels",
    type=click.IntRange(min=0),
    help="Neurite voxels a crop needs, inclusive.  [default: 100]",
)
@click.option("--background", type=float, help="Share of crops with less.  [default: 0]")
@click.option("--clip", type=float, help="Where distances are cut off, in voxels.  [default: 10]")
@click.option(
    "--split",
    type=(float, float, float),
    metavar="TRAIN VALIDATION TEST",
    help="Shares of the regions.  [default: 0.8 0.1 0.1]",
)
@click.option(
    "--guard", type=click.IntRange(min=0), help="Voxels between regions.  [default: the clip]"
)
@click.option("--axis", type=click.Choice(["z", "y", "x"]), help="Axis regions are cut across.")
@click.option(
    "--mixed-spacing", is_flag=True, default=None, help="Let brains differ in voxel size."
)
@click.option(
    "--compression",
    type=click.Choice(["archive", "speed", "scratch"]),
    help="zstd 3, zstd 1 or lz4; all lossless.  [default: speed]",
)
@click.option("--seed", type=click.IntRange(min=0), help="Of every random choice.  [default: 0]")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting.")
@click.option(
    "--resume/--no-resume",
    default=True,
    show_default=True,
    help="Continue an interrupted build, or refuse to.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    paths: tuple[str, ...],
    *,
    config: Path | None,
    assignments: tuple[str, ...],
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Cut crops that hold neurites out of BRAIN, annotated by SWC files, into the dataset OUTPUT.

    OUTPUT is one Zarr group: images, centrelines, distance maps and the annotation near each crop,
    shared out by region into train, validation and test; neuroconn train reads it (datasets:
    [{path: OUTPUT}]). OUTPUT/figures holds pictures of it. Several brains: --config FILE.yaml
    OUTPUT. Rerunning the same command continues where the last one stopped.
    """
    settings = _settings(paths, config, assignments, options)
    # Imported here so that `neuroconn --help` does not wait for zarr.
    from neuroconn.training.dataset import dataset

    quiet = bool((ctx.obj or {}).get("quiet"))
    output = Path(paths[-1])
    with Bar("cutting", "crops", quiet=quiet) as bar:
        try:
            report = dataset(settings, output, resume=resume, progress=bar.show)
        except KeyboardInterrupt:
            raise InterruptedRunError(
                f"interrupted; run the same command again to finish {output}"
            ) from None
    click.echo(json.dumps(report.as_dict()) if as_json else _summary(str(report), report.crops))
    if not as_json:
        click.echo(f"Wrote {output}; pictures in {output / 'figures'}", err=True)


def _settings(
    paths: tuple[str, ...],
    config: Path | None,
    assignments: tuple[str, ...],
    options: dict[str, Any],
) -> DatasetSettings:
    """YAML or BRAIN and SWC, then ``--set``, then the options given by name."""
    brain = {key: options[key] for key in _OF_BRAIN if options[key] is not None}
    layers: dict[str, Any] = {}
    if config is not None:
        if len(paths) != 1:
            raise click.UsageError("with --config give OUTPUT alone: the brains are in the file")
        if brain:
            raise click.UsageError(
                f"--{next(iter(brain)).replace('_', '-')} belongs to one brain: with --config, "
                "write it beside the brain in the file"
            )
        layers = load_yaml(_text(config), source=str(config))
    else:
        if len(paths) < 3:
            raise click.UsageError(
                "give BRAIN, at least one SWC and OUTPUT; or --config FILE.yaml and OUTPUT"
            )
        if "traced_in" in brain:
            brain.setdefault("units", "voxel")
        if "units" not in brain:
            raise click.UsageError(
                "SWC does not say what it counts: give --units um, voxel, or the µm in one unit"
            )
        layers = {"brains": [{"brain": paths[0], "swc": list(paths[1:-1]), **brain}]}
    given = {key: options[key] for key in _SETTINGS if options[key] is not None}
    split = {key: options[key] for key in ("guard", "axis") if options[key] is not None}
    if options["split"] is not None:
        split |= dict(zip(("train", "validation", "test"), options["split"], strict=True))
    return resolve(
        DatasetSettings,
        layers,
        parse_assignments(assignments),
        {**given, "split": split},
        source=str(config or "dataset"),
    )


def _text(config: Path) -> str:
    try:
        return config.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {config}: {error}") from None


def _summary(table: str, crops: int) -> str:
    return f"{table}\n{crops:,} crops"
