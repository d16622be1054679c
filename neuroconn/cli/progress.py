"""What a walk shows on stderr: a live panel on a terminal, a line now and then in a log file."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from neuroconn.inference.watching.events import Listener, Progress
from neuroconn.inference.watching.outlook import Forecast, duration
from neuroconn.inference.watching.quiet import Quiet
from neuroconn.view.recorder import RunRecorder

_EVERY_S = 30.0
_REDRAW_S = 0.25


@contextmanager
def walk_progress(
    console: Console | None = None, *, every_s: float = _EVERY_S, expected: tuple[int, int] = (0, 0)
) -> Iterator[Listener]:
    """Show a walk on stderr for as long as the context lasts.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where to draw; stderr, unless given.
    every_s : float, optional
        Seconds between two lines where there is no terminal, as in the log of a SLURM job.
    expected : (low, high) ints, optional
        Chunks a coarse look at the brain promised.
    """
    console = console or Console(stderr=True)
    if not console.is_terminal:
        lines = Lines(every_s, expected)
        shown = Quiet("the progress on stderr", lines)
        try:
            yield shown
        finally:
            shown.attempt(lines.close)
        return
    with Live(console=console, transient=True, auto_refresh=False) as live:
        yield Quiet("the progress on stderr", Panel(live, expected))


class Shown:
    """A walk as seen from its start on, with what is new in it.

    Parameters
    ----------
    expected : (low, high) ints
        Chunks a coarse look at the brain promised; (0, 0) for none.
    """

    def __init__(self, expected: tuple[int, int]) -> None:
        self._expected = expected if any(expected) else None
        self._recorder: RunRecorder | None = None
        self._warned: set[str] = set()
        self.audit = ""

    def see(self, now: Progress) -> list[str]:
        """Take note of progress; returns lines that were not said before."""
        if self._recorder is None:
            self._recorder = RunRecorder(now.reachable or now.known, self._expected)
        self._recorder(now)
        fresh = [f"warning  {w}" for w in now.warnings if w not in self._warned]
        self._warned.update(now.warnings)
        if now.audit != self.audit:
            self.audit = now.audit
            fresh.append(f"audit    {now.audit}")
        return fresh

    @property
    def left(self) -> str:
        """Time left and chunks in all, as far as anybody can tell."""
        if self._recorder is None or self._recorder.latest is None:
            return ""
        now, forecast = self._recorder.latest, self._recorder.outlook.forecast()
        if not now.queued + now.in_flight:
            return "nothing left"
        eta = forecast.eta(now.done + now.failed, self._recorder.pace.rates())
        time_left = f"{eta} left" if eta.low is not None else "time left not known yet"
        return f"{time_left}; {total(forecast)} chunks in all"

    @property
    def likely(self) -> int:
        """Chunks in all, the best guess."""
        if self._recorder is None:
            return 0
        forecast = self._recorder.outlook.forecast()
        return forecast.likely or forecast.low


class Panel(Shown):
    """Draws a few lines on a terminal, and warnings above them."""

    def __init__(self, live: Live, expected: tuple[int, int] = (0, 0)) -> None:
        super().__init__(expected)
        self._live = live
        self._next = 0.0

    def __call__(self, now: Progress) -> None:
        """Draw, a few times a second at most."""
        for line in self.see(now):
            self._live.console.print(Text(line))
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _REDRAW_S
            self._live.update(self._drawn(now), refresh=True)

    def _drawn(self, now: Progress) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        known = max(1, self.likely)
        done = now.done + now.failed
        bar = ProgressBar(total=known, completed=min(done, known), width=40)
        table.add_row(f"{now.phase:<8}", bar, f"{done:,} chunks in {duration(now.seconds)}")
        return Group(
            table, *(Text(" " * 9 + line) for line in (counts(now), speed(now))), self._eta
        )

    @property
    def _eta(self) -> Text:
        return Text(" " * 9 + self.left)


class Lines(Shown):
    """Writes a line now and then: the first after a minute's part, one at every new phase."""

    def __init__(
        self,
        every_s: float = _EVERY_S,
        expected: tuple[int, int] = (0, 0),
        write: Callable[[str], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(expected)
        self._every_s = every_s
        self._write = write or (lambda line: click.echo(line, err=True))
        self._clock = clock
        self._next = clock() + every_s
        self._latest: Progress | None = None
        self._phase = "walk"

    def __call__(self, now: Progress) -> None:
        """Write a line if it is time for one."""
        for line in self.see(now):
            self._write(line)
        self._latest = now
        if self._clock() >= self._next or now.phase != self._phase:
            self._say(now)

    def close(self) -> None:
        """Write the last line, if something happened since."""
        if self._latest is not None and self._latest.inferred:
            self._say(self._latest)

    def _say(self, now: Progress) -> None:
        self._latest = None
        self._phase = now.phase
        self._next = self._clock() + self._every_s
        what = f"{now.phase:<8} {duration(now.seconds)}: {now.done + now.failed:,} done, "
        self._write(what + "; ".join((counts(now), speed(now), self.left)))


def page_lines(dashboard: str, host: str | None = None) -> list[str]:
    """Say where the page of the run is, and how to reach it from another machine.

    Parameters
    ----------
    dashboard : str
        URL of Dask's dashboard.
    host : str, optional
        Name of this machine, for ``ssh``; asked for by default.

    Examples
    --------
    >>> page, afar = page_lines("http://127.0.0.1:8787/status", host="node7")
    >>> page
    'page      http://127.0.0.1:8787/neuroconn'
    >>> afar
    'from afar ssh -L 8787:127.0.0.1:8787 node7, then http://localhost:8787/neuroconn'
    """
    url = urlsplit(dashboard)
    path = url.path.rsplit("/", 1)[0] + "/neuroconn"
    port = url.port or (443 if url.scheme == "https" else 80)
    here = host or socket.gethostname()
    return [
        f"page      {url.scheme}://{url.netloc}{path}",
        f"from afar ssh -L {port}:{url.hostname}:{port} {here}, "
        f"then {url.scheme}://localhost:{port}{path}",
    ]


def counts(now: Progress) -> str:
    """Say what was found, and what is waiting."""
    waiting = now.queued + now.in_flight
    found = f"{now.neurite:,} neurite, {now.empty:,} empty, {now.failed:,} failed"
    return f"{found}; frontier {waiting:,} ({now.in_flight:,} in flight)"


def speed(now: Progress) -> str:
    """Say how fast it goes.

    Examples
    --------
    >>> speed(Progress(0, 0, 0, 0, 0, 0, 2, 10, 4.0, 3.0, voxels=8_000_000))
    '2.50 chunks/s, 2.00 Mvoxel/s, networks busy 75 %'
    """
    seconds = now.seconds or 1.0
    chunks, voxels = now.inferred / seconds, now.voxels / seconds / 1e6
    return (
        f"{figure(chunks)} chunks/s, {figure(voxels)} Mvoxel/s, "
        f"networks busy {100 * min(1.0, now.busy):.0f} %"
    )


def total(forecast: Forecast) -> str:
    """Say how many chunks there will be, as an interval unless it is known.

    Examples
    --------
    >>> total(Forecast(10, 15, 20, "trend")), total(Forecast(10, None, None, "none"))
    ('about 15 (10 to 20)', 'at least 10')
    """
    low, likely, high = forecast.low, forecast.likely, forecast.high
    if high is None:
        return f"at least {low:,}"
    if low == high:
        return f"{low:,}"
    return f"{low:,} to {high:,}" if likely is None else f"about {likely:,} ({low:,} to {high:,})"


def figure(value: float) -> str:
    """Write a rate with three digits.

    Examples
    --------
    >>> figure(0.123), figure(12.34), figure(1234.5)
    ('0.12', '12.3', '1,234')
    """
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
