"""``neuroconn train``: phantoms and annotated brains become a model."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neuroconn.config.base import read_settings
from neuroconn.config.presets import find_preset
from neuroconn.config.train import TrainSettings
from neuroconn.errors import InterruptedRunError

if TYPE_CHECKING:
    from neuroconn.training import TrainReport


@click.command(name="train")
@click.argument("paths", nargs=-1, metavar="[CONFIG.yaml] OUTPUT", type=click.Path(path_type=Path))
@click.option(
    "--preset", metavar="NAME", help="Settings of configs/train, in place of CONFIG.yaml."
)
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting.")
@click.option(
    "--resume/--no-resume",
    default=True,
    show_default=True,
    help="Go on from the last checkpoint in OUTPUT, or refuse to.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the network learns; auto takes a GPU where there is one.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    paths: tuple[Path, ...],
    preset: str | None,
    assignments: tuple[str, ...],
    resume: bool,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Train a network with the settings of CONFIG.yaml, or of a preset, into the folder OUTPUT.

    OUTPUT/model is the model, for neuroconn infer --model; OUTPUT/best is the best one so far.
    Rerunning the same command continues from the last checkpoint; on the CPU the result is that of
    a run that was never stopped. On the 4 GPUs of a machine:
    torchrun --nproc-per-node 4 -m neuroconn train --preset NAME OUTPUT.
    """
    config, output = _paths(paths, preset)
    settings = read_settings(TrainSettings, config, *assignments)
    # Imported here so that `neuroconn --help` does not wait for torch.
    from neuroconn.cli.train_progress import training_progress
    from neuroconn.training import train

    # Of the processes that torchrun starts, the first one speaks.
    first = os.environ.get("RANK", "0") == "0"
    quiet = bool((ctx.obj or {}).get("quiet")) or not first
    if not quiet:
        # How well each annotation lies on its brain is worth a line before hours of training.
        logging.getLogger("neuroconn.training").setLevel(logging.INFO)
    crops = settings.crops_per_iteration
    with (
        _signals(output),
        training_progress(settings.iterations, crops, quiet=quiet) as shown,
    ):
        report = train(
            settings,
            output,
            resume=resume,
            device=device,
            threads=threads,
            progress=shown.row,
            ticker=shown.tick,
        )
    if not first:
        return
    click.echo(json.dumps(_as_dict(report)) if as_json else _summary(report))


def _paths(paths: tuple[Path, ...], preset: str | None) -> tuple[Path, Path]:
    """Tell settings and output apart: one path with a preset, two without."""
    if preset is None and len(paths) == 2:
        return paths
    if preset is not None and len(paths) == 1:
        return find_preset("train", preset), paths[0]
    if preset is None and len(paths) == 1:
        raise click.UsageError("give settings: --preset NAME, or CONFIG.yaml before OUTPUT")
    raise click.UsageError("give CONFIG.yaml and OUTPUT, or --preset NAME and OUTPUT alone")


@contextmanager
def _signals(output: Path) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into an error that says how to go on; checkpoints stay whole."""

    def stop(number: int, _: object) -> None:
        error = InterruptedRunError(
            f"interrupted; run the same command again to go on from the last checkpoint in {output}"
        )
        error.exit_code = 128 + number
        raise error

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _as_dict(report: TrainReport) -> dict[str, object]:
    return {
        "model": str(report.model),
        "iterations": report.iterations,
        "resumed_at": report.resumed_at,
        "best_iteration": report.best,
        "stopped_early": report.stopped,
        "skipped_updates": report.skipped,
        "scores": report.scores,
    }


def _summary(report: TrainReport) -> str:
    told = ("mse", "recall", "precision", "quality", "cldice", "tlts")
    scores = ", ".join(f"{n} {report.scores[n]:.3f}" for n in told if n in report.scores)
    made = report.iterations - report.resumed_at
    what = f"{made} of {report.iterations} iterations now" if made else "nothing left to train"
    early = f"; no better since {report.best}, stopped" if report.stopped else ""
    skipped = f"; {report.skipped} updates overflowed and were skipped" if report.skipped else ""
    return f"{what}{early}{skipped}; validation: {scores}. Wrote {report.model}"
