"""``neuroconn infer``."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neuroconn.cli.access import access_of, access_options
from neuroconn.cli.address import AddressType
from neuroconn.cli.signals import draining

if TYPE_CHECKING:
    from neuroconn.config.infer import InferSettings
    from neuroconn.inference.report import InferReport


@click.command()
@click.argument("brain", type=AddressType(exists=True))
@click.argument("output", type=AddressType())
@click.option(
    "--model",
    default="default",
    show_default=True,
    help="A folder, a shipped model, TorchScript or ONNX with a card, or a bioimage.io package.",
)
@click.option(
    "--seed",
    "seeds",
    type=(str, str, str),
    multiple=True,
    metavar="Z Y X",
    help="A place on a neurite, in voxels, or in µm as 120um; repeat for more.",
)
@click.option(
    "--seeds",
    "seed_source",
    metavar="FILE|auto|all",
    help="Seeds from a file: .ano, .apo, .marker, .swc, .eswc or .csv; bright places; or every "
    "chunk.",
)
@click.option(
    "--seed-units",
    type=click.Choice(["voxel", "um"]),
    default="voxel",
    show_default=True,
    help="What plain numbers of --seed and of a file count in.",
)
@click.option(
    "--seeds-in",
    "seed_export",
    type=click.Path(path_type=Path),
    metavar="EXPORT",
    help="The TeraFly tree or crop that the file of seeds was made in, if that is a part of BRAIN "
    "or a coarser level: its voxels are what the file counts.",
)
@click.option(
    "--apo-base",
    type=click.IntRange(0, 1),
    default=0,
    show_default=True,
    help="What an .apo calls the first voxel along an axis.",
)
@click.option(
    "--box",
    type=(str,) * 6,
    metavar="Z0 Y0 X0 Z1 Y1 X1",
    help="Stay in the chunks that this box touches, in voxels, or in µm as 120um.",
)
@click.option(
    "--mask",
    metavar="PATH[:LEVEL]",
    help="Stay where this volume is not 0; as large as a level of BRAIN, or a fraction.",
)
@click.option(
    "--scheduler",
    metavar="S",
    help="local, local:N, threads, sync, an address, a scheduler file, or a site of cluster/.  "
    "[default: $DASK_SCHEDULER_ADDRESS, else local]",
)
@access_options
@click.option("--threads", type=click.IntRange(1), help="Threads of the network in each worker.")
@click.option("--preset", default="default", show_default=True, help="A name, or a YAML file.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check everything, infer a minute of chunks, say what a run would take; write nothing.",
)
@click.option("--no-measure", is_flag=True, help="With --dry-run: infer nothing either.")
@click.option("--retry-failed", is_flag=True, help="Try again what earlier runs gave up.")
@click.option("--fsync", is_flag=True, help="Be safe from power cuts too; slower.")
@click.option("--force-unlock", is_flag=True, help="Take the run from a client that is gone.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    brain: Path | str,
    output: Path | str,
    model: str,
    seeds: tuple[tuple[str, str, str], ...],
    seed_source: str | None,
    seed_units: str,
    seed_export: Path | None,
    apo_base: int,
    box: tuple[str, ...] | None,
    mask: str | None,
    scheduler: str | None,
    threads: int | None,
    preset: str,
    assignments: tuple[str, ...],
    dry_run: bool,
    no_measure: bool,
    retry_failed: bool,
    fsync: bool,
    force_unlock: bool,
    as_json: bool,
    **access: Any,
) -> None:
    """Predict the distance map of BRAIN along its neurites, from seeds, into OUTPUT.

    Running the same command again continues where the last run stopped; when nothing is left it
    computes nothing. Exit code 1 says that chunks failed or that max_chunks cut the walk short.
    """
    from neuroconn.inference.run import infer

    quiet = bool(ctx.obj and ctx.obj.get("quiet"))
    what: dict[str, Any] = {
        "model": model,
        "seeds": [_with_units(seed, seed_units) for seed in seeds],
        "seed_source": seed_source,
        "seed_units": seed_units,
        "seed_export": seed_export,
        "apo_base": apo_base,
        "box": box or (),
        "mask": mask,
        "settings": _settings(preset, assignments),
        "scheduler": scheduler,
        "threads": threads,
        "access": access_of(access),
    }
    if dry_run:
        _rehearse(brain, output, what, measure=not no_measure, quiet=quiet, as_json=as_json)
        return
    with ExitStack() as stack:
        stop, caught = stack.enter_context(draining())
        progress = None
        if not quiet:
            from neuroconn.cli.progress import walk_progress

            progress = stack.enter_context(walk_progress())
        try:
            report = infer(
                brain,
                output,
                **what,
                progress=progress,
                header=None if quiet else _header,
                stop=stop,
                retry_failed=retry_failed,
                fsync=fsync,
                force_unlock=force_unlock,
            )
        except Exception as error:
            if caught and getattr(error, "exit_code", None) == 75:
                error.exit_code = 128 + caught[0]  # type: ignore[attr-defined]
            raise
    _result(report, as_json=as_json)
    ctx.exit(report.exit_code)


def _rehearse(
    brain: Path | str,
    output: Path | str,
    what: dict[str, Any],
    *,
    measure: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Print what a run would take; results on stdout, what takes its time on stderr."""
    from neuroconn.cli.rehearse import estimate_lines
    from neuroconn.inference.rehearsal.rehearse import rehearse

    say = None if quiet else lambda line: click.echo(f"Dry run: {line} ...", err=True)
    estimate = rehearse(
        brain, output, **what, measure=measure, say=say, header=None if quiet else _header
    )
    if as_json:
        click.echo(json.dumps(estimate.to_json()))
        return
    click.echo("\n".join(estimate_lines(estimate)))


def _settings(preset: str, assignments: tuple[str, ...]) -> InferSettings:
    from neuroconn.config.base import read_settings
    from neuroconn.config.infer import InferSettings
    from neuroconn.config.presets import find_preset

    return read_settings(InferSettings, find_preset("infer", preset), *assignments)


def _with_units(seed: tuple[str, str, str], units: str) -> list[str]:
    """Mark plain numbers as µm if the user said that they are."""
    return [f"{word}um" if units == "um" and not word.endswith("m") else word for word in seed]


def _header(job: Any, backend: Any, plan: Any, frontier: Any) -> None:
    """Say on stderr what is about to run."""
    spacing = " x ".join(f"{s:g}" for s in job.brain.frames[plan.level].spacing_um)
    shape = " x ".join(map(str, plan.grid.shape))
    counts = frontier.counts()
    done = counts["neurite"] + counts["empty"]
    lines = [
        "versions  " + ", ".join(f"{name} {version}" for name, version in plan.versions),
        f"brain     {plan.brain}, level {plan.level}: {shape} voxels of {spacing} µm",
        f"model     {job.card.name} ({plan.model_sha256[:12]}), {plan.device}, {plan.precision}",
        f"grid      {len(plan.grid)} chunks of {plan.grid.chunk[0]}, halo {plan.halo}",
        f"cluster   {backend.name}",
    ]
    if backend.dashboard:
        from neuroconn.cli.progress import page_lines

        lines += [f"dashboard {backend.dashboard}", *page_lines(backend.dashboard)]
    if job.region is not None:
        lines.append(f"region    {job.region.description}")
    lines.append(f"walk      {counts['queued']} chunks queued, {done} done by earlier runs")
    lines += [f"warning   {warning}" for warning in job.warnings]
    click.echo("\n".join(lines), err=True)


def _result(report: InferReport, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report.to_json()))
        return
    counts = report.chunks
    click.echo(
        f"{counts['neurite']} of {report.visited} visited chunks hold neurite, "
        f"{counts['unexplored']} were not reached; {report.inferred} inferred now in "
        f"{report.seconds:.1f} s. Wrote {report.output}"
    )
    if report.audit is not None:
        click.echo(f"Audit: {report.audit}.")
    for line in report.warnings:
        click.echo(f"Warning: {line}", err=True)
    for line in report.exceptions:
        click.echo(f"Not the whole closure: {line}", err=True)
    for index, reason in report.failed[:20]:
        click.echo(f"  chunk {index}: {reason}", err=True)
