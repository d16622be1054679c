"""What ``neuroconn train`` shows on stderr: a bar on a terminal, a line a validation elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from neuroconn.inference.watching.outlook import duration

_REDRAW_S = 0.2
_FADE = 0.98
"""Share of the shown losses that an iteration keeps."""


class TrainingProgress:
    """Follows a run; :meth:`tick` after every iteration, :meth:`row` after every validation.

    Parameters
    ----------
    iterations : int
        How many there will be.
    crops : int
        To an iteration.
    bar : rich.progress.Progress or None
        What is drawn on; without one, rows are written as lines.
    quiet : bool
        Whether to show nothing.
    """

    def __init__(self, iterations: int, crops: int, bar: Progress | None, quiet: bool) -> None:
        self._iterations, self._crops = iterations, crops
        self._bar, self._quiet = bar, quiet
        self._losses: dict[str, float] = {}
        self._scores = ""
        self._next = 0.0
        self._task: TaskID | None = None
        self._first: tuple[int, float] | None = None
        if bar is not None:
            self._task = bar.add_task("training", total=iterations, note="", speed="")

    def tick(self, done: int, losses: Mapping[str, float]) -> None:
        """Take note of an iteration."""
        now = time.monotonic()
        if self._first is None:
            self._first = (done, now)  # a resumed run is not credited with what it did before
        for name, value in losses.items():
            self._losses[name] = _FADE * self._losses.get(name, value) + (1 - _FADE) * value
        if self._bar is None or self._task is None or now < self._next:
            return
        self._next = now + _REDRAW_S
        if self._bar.tasks[0].completed == 0 and done > 1:
            self._bar.reset(self._task, total=self._iterations, completed=done)
        note = loss_note(self._losses) + self._scores
        self._bar.update(self._task, completed=done, note=note, speed=self._speed(done, now))

    def row(self, done: int, _: int, row: Mapping[str, float]) -> None:
        """Take note of a validation."""
        self._scores = f"; {score_note(row)}"
        if self._bar is not None or self._quiet:
            return
        left = ""
        if self._first is not None and done > self._first[0]:
            pace = (time.monotonic() - self._first[1]) / (done - self._first[0])
            left = f", {duration(pace * (self._iterations - done))} left"
        speed = f"; {row.get('crops_per_second', 0):.3g} crops/s{left}"
        click.echo(f"iteration {done}: {loss_note(row)}{self._scores}{speed}", err=True)

    def _speed(self, done: int, now: float) -> str:
        assert self._first is not None
        made, seconds = done - self._first[0], now - self._first[1]
        return f"{self._crops * made / seconds:.3g} crops/s" if made and seconds else ""


def loss_note(row: Mapping[str, float]) -> str:
    """Say what the loss is, and its terms where there is more than one.

    Examples
    --------
    >>> loss_note({"loss": 3.25, "loss_mse": 3.0, "loss_l_conn": 0.25})
    'loss 3.25 (mse 3.00, l_conn 0.250)'
    >>> loss_note({"loss": 3.0, "loss_mse": 3.0})
    'loss 3.00'
    """
    terms = {k.removeprefix("loss_"): v for k, v in row.items() if k.startswith("loss_")}
    said = ", ".join(f"{name} {value:#.3g}" for name, value in terms.items())
    total = f"loss {row['loss']:#.3g}" if "loss" in row else ""
    return f"{total} ({said})" if len(terms) > 1 else total


def score_note(row: Mapping[str, float]) -> str:
    """Say how good the weights are, in the scores that most people look for.

    Examples
    --------
    >>> score_note({"validation_mse": 2.5, "validation_quality": 0.81, "validation_betti": 3})
    'validation mse 2.500, quality 0.810'
    """
    names = ("mse", "quality", "cldice", "tlts")
    said = [f"{n} {row[f'validation_{n}']:.3f}" for n in names if f"validation_{n}" in row]
    return f"validation {', '.join(said)}"


@contextmanager
def training_progress(iterations: int, crops: int, *, quiet: bool) -> Iterator[TrainingProgress]:
    """Show a run for as long as the context lasts."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield TrainingProgress(iterations, crops, None, quiet)
        return
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield TrainingProgress(iterations, crops, bar, quiet)
