"""``neuroconn infer``."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from neuroconn.config.infer import InferSettings
    from neuroconn.inference.report import InferReport


@click.command()
@click.argument("brain", type=click.Path(exists=True, path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--model", default="default", show_default=True, help="A folder, or a shipped model.")
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
    help="Seeds from an .swc, .marker, .apo or .csv file; bright places; or every chunk.",
)
@click.option(
    "--seed-units",
    type=click.Choice(["voxel", "um"]),
    default="voxel",
    show_default=True,
    help="What plain numbers of --seed and of a file count in.",
)
@click.option(
    "--scheduler",
    metavar="S",
    help="local, local:N, threads, sync, an address, a scheduler file, or a site of cluster/.  "
    "[default: $DASK_SCHEDULER_ADDRESS, else local]",
)
@click.option("--threads", type=click.IntRange(1), help="Threads of the network in each worker.")
@click.option("--preset", default="default", show_default=True, help="A name, or a YAML file.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting.")
@click.option(
    "--dry-run", is_flag=True, help="Check everything, say what would run, write nothing."
)
@click.option("--retry-failed", is_flag=True, help="Try again what earlier runs gave up.")
@click.option("--force-unlock", is_flag=True, help="Take the run from a client that is gone.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    brain: Path,
    output: Path,
    model: str,
    seeds: tuple[tuple[str, str, str], ...],
    seed_source: str | None,
    seed_units: str,
    scheduler: str | None,
    threads: int | None,
    preset: str,
    assignments: tuple[str, ...],
    dry_run: bool,
    retry_failed: bool,
    force_unlock: bool,
    as_json: bool,
) -> None:
    """Predict the distance map of BRAIN along its neurites, from seeds, into OUTPUT.

    Running the same command again continues where the last run stopped; when nothing is left it
    computes nothing. Exit code 1 says that chunks failed or that max_chunks cut the walk short.
    """
    from neuroconn.inference.run import infer

    quiet = bool(ctx.obj and ctx.obj.get("quiet"))
    units: Any = seed_units
    with ExitStack() as stack:
        stop, caught = stack.enter_context(_signals())
        progress = None
        if not quiet:
            from neuroconn.cli.progress import walk_progress

            progress = stack.enter_context(walk_progress())
        try:
            report = infer(
                brain,
                output,
                model=model,
                seeds=[_with_units(seed, seed_units) for seed in seeds],
                seed_source=seed_source,
                seed_units=units,
                settings=_settings(preset, assignments),
                scheduler=scheduler,
                threads=threads,
                progress=progress,
                header=None if quiet else _header,
                stop=stop,
                dry_run=dry_run,
                retry_failed=retry_failed,
                force_unlock=force_unlock,
            )
        except Exception as error:
            if caught and getattr(error, "exit_code", None) == 75:
                error.exit_code = 128 + caught[0]  # type: ignore[attr-defined]
            raise
    _result(report, as_json=as_json, dry_run=dry_run)
    ctx.exit(0 if dry_run else report.exit_code)


def _settings(preset: str, assignments: tuple[str, ...]) -> InferSettings:
    from neuroconn.config.base import read_settings
    from neuroconn.config.infer import InferSettings
    from neuroconn.config.presets import find_preset

    return read_settings(InferSettings, find_preset("infer", preset), *assignments)


def _with_units(seed: tuple[str, str, str], units: str) -> list[str]:
    """Mark plain numbers as µm if the user said that they are."""
    return [f"{word}um" if units == "um" and not word.endswith("m") else word for word in seed]


@contextmanager
def _signals() -> Iterator[tuple[threading.Event, list[int]]]:
    """Turn a first SIGINT or SIGTERM into a request to stop; a second one ends the process."""
    stop, caught = threading.Event(), list[int]()

    def ask_to_stop(number: int, _: object) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)
        stop.set()
        click.echo("Stopping: waiting for the chunks in flight (again to stop at once).", err=True)

    if threading.current_thread() is not threading.main_thread():
        yield stop, caught
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, ask_to_stop) for number in numbers]
    try:
        yield stop, caught
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


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
        lines.append(f"dashboard {backend.dashboard}")
    lines.append(f"walk      {counts['queued']} chunks queued, {done} done by earlier runs")
    lines += [f"warning   {warning}" for warning in job.warnings]
    click.echo("\n".join(lines), err=True)


def _result(report: InferReport, *, as_json: bool, dry_run: bool) -> None:
    if as_json:
        click.echo(json.dumps(report.to_json()))
        return
    counts = report.chunks
    if dry_run:
        total = sum(counts.values())
        click.echo(
            f"{counts['queued']} of {total} chunks would start the walk; nothing was written"
        )
        return
    click.echo(
        f"{counts['neurite']} of {report.visited} visited chunks hold neurite, "
        f"{counts['unexplored']} were not reached; {report.inferred} inferred now in "
        f"{report.seconds:.1f} s. Wrote {report.output}"
    )
    for line in report.exceptions:
        click.echo(f"Not the whole closure: {line}", err=True)
    for index, reason in report.failed[:20]:
        click.echo(f"  chunk {index}: {reason}", err=True)
