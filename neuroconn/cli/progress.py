"""The bar of a walk, whose total grows as the frontier does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from neuroconn.inference.events import Listener
from neuroconn.inference.events import Progress as WalkProgress


@contextmanager
def walk_progress() -> Iterator[Listener]:
    """Draw a bar on stderr; off a terminal nothing is drawn."""
    console = Console(stderr=True)
    columns = (
        TextColumn("walk     "),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} chunks"),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("walk", total=0, note="")

        def show(now: WalkProgress) -> None:
            rate = now.inferred / now.seconds if now.seconds > 0 else 0.0
            note = f"{now.neurite} with neurite, {now.queued} queued, {rate:.1f}/s"
            if now.failed:
                note += f", {now.failed} failed"
            bar.update(task, completed=now.done + now.failed, total=now.known, note=note)

        yield show
