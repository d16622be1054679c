"""Signals as requests: the first one stops a run between two chunks, a second one at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

_ASKING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
_GRACE_S = 5.0
"""For closing what is open after a second signal."""


@contextmanager
def draining() -> Iterator[tuple[threading.Event, list[int]]]:
    """Turn a first SIGINT, SIGTERM or SIGHUP into a request to stop.

    A second one raises SystemExit with the code that shells give to a process that a signal ended,
    128 and its number; what does not let go within seconds is ended without more ado. A signal that
    was ignored before, as ``nohup`` has it with SIGHUP, stays ignored.

    Yields
    ------
    stop : threading.Event
        Set by the first signal.
    caught : list of int
        Signals that came.
    """
    stop, caught = threading.Event(), list[int]()
    ending: list[threading.Timer] = []
    terminals = [fd for fd in (1, 2) if _is_terminal(fd)]

    def ask_to_stop(number: int, _: object) -> None:
        if number == getattr(signal, "SIGHUP", None):
            _let_go_of(terminals)
        caught.append(number)
        if stop.is_set():
            ending.append(_end_soon(128 + number))
            sys.exit(128 + number)
        stop.set()
        with suppress(OSError):  # nobody may be left to read it
            click.echo(
                "Stopping: waiting for the chunks in flight (again to stop at once).", err=True
            )

    if threading.current_thread() is not threading.main_thread():
        yield stop, caught
        return
    before = {number: signal.getsignal(number) for number in _ASKING}
    handled = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, ask_to_stop)
    try:
        yield stop, caught
    finally:
        # Everything that may not let go has: whoever called this in a process of theirs keeps it.
        for timer in ending:
            timer.cancel()
        for number in handled:
            signal.signal(number, before[number] or signal.SIG_DFL)


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _let_go_of(terminals: list[int]) -> None:
    """Write into the void what would have gone to a terminal that hung up: it takes no more."""
    void = os.open(os.devnull, os.O_WRONLY)
    for fd in terminals:
        os.dup2(void, fd)
    os.close(void)


def _end_soon(code: int) -> threading.Timer:
    timer = threading.Timer(_GRACE_S, os._exit, [code])
    timer.daemon = True
    timer.start()
    return timer
