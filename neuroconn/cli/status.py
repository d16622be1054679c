"""``neuroconn status``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neuroconn.cli.address import AddressType

if TYPE_CHECKING:
    from neuroconn.view.follow import Follower, Snapshot

_SILENT_S = 120.0


@click.command()
@click.argument("output", type=AddressType(exists=True))
@click.option("--watch", is_flag=True, help="Go on until no client is at work on it any more.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often --watch looks.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object; with --watch one at every change."
)
def command(output: Path | str, watch: bool, every_s: float, as_json: bool) -> None:
    """Say how far the run into OUTPUT has come; safe while it is running, and from anywhere.

    Nothing but the run folder is read, and each line of it once.
    """
    from neuroconn.view.follow import Follower

    follower = Follower(output)
    follower.refresh()
    if not watch:
        found = follower.snapshot()
        click.echo(json.dumps(found.to_json()) if as_json else text(found))
        return
    if as_json:
        for found in changes(follower, every_s):
            click.echo(json.dumps(found.to_json()))
        return
    _draw(follower, every_s)


def changes(follower: Follower, every_s: float) -> Iterator[Snapshot]:
    """Yield where a run is whenever that changed, until no client is at work."""
    last = follower.snapshot()
    yield last
    while last.running:
        time.sleep(every_s)
        changed = follower.refresh()
        found = follower.snapshot()
        if changed or found.running != last.running:
            yield found
        last = found


def _draw(follower: Follower, every_s: float) -> None:
    """Redraw on a terminal; elsewhere write one line at every change."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        found = None
        for found in changes(follower, every_s):
            click.echo(line(found))
        if found is not None:
            click.echo(text(found))
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            found = follower.snapshot()
            live.update(Text(text(found)), refresh=True)
            if not found.running:
                return
            time.sleep(every_s)
            follower.refresh()


def line(found: Snapshot) -> str:
    """Write where a run is as one line."""
    chunks = found.chunks
    done = chunks["neurite"] + chunks["empty"]
    waiting = chunks["queued"] + chunks["in_flight"]
    return (
        f"{done:,} done ({chunks['neurite']:,} neurite), {chunks['failed']:,} failed, "
        f"{waiting:,} waiting; {found.rates[0]:.2f} chunks/s; left: {found.eta_text}"
    )


def text(found: Snapshot) -> str:
    """Write where a run is as a few lines."""
    from neuroconn.inference.watching.outlook import duration

    grid = sum(found.chunks.values())
    lines = [
        f"{name:<12}{count:>9}  {100 * count / grid:5.1f} %"
        for name, count in found.chunks.items()
        if count
    ]
    lines.append(f"{'grid':<12}{grid:>9}")
    if found.seconds:
        lines.append(
            f"time        {duration(found.seconds)}, networks {duration(found.model_seconds)}"
        )
    if found.running:
        lines += _pace(found)
    elif found.complete:
        lines.append("complete")
    else:
        lines.append("not complete: run the same command again to go on")
    lines += [f"audit       {found.audit}"] if found.audit else []
    # While somebody is at work it is no news that there is work left.
    lines += [] if found.running else found.exceptions
    return "\n".join(lines)


def _pace(found: Snapshot) -> list[str]:
    from neuroconn.cli.progress import figure, total
    from neuroconn.inference.watching.outlook import Forecast, duration

    low, likely, high = found.total
    forecast = Forecast(low, likely, high, "none")
    silent = f", silent for {duration(found.silent)}" if found.silent > _SILENT_S else ""
    return [
        f"running     {found.running}, {found.phase}{silent}",
        f"pace        {figure(found.rates[0])} chunks/s, "
        f"{figure(found.voxels_per_second / 1e6)} Mvoxel/s, networks busy {100 * found.busy:.0f} %",
        f"left        {found.eta_text}; {total(forecast)} chunks in all",
    ]
