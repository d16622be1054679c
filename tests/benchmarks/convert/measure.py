"""Running one child process, and what it took: time, processors, memory, then the sync."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

INTERVAL = 0.05
"""Seconds between two looks at the process tree."""


class RunError(Exception):
    """A child failed, with the end of what it said."""


class Watch:
    """The highest memory of a process tree, and the processor time of all who were in it."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._cpu: dict[int, float] = {}
        self.peak_bytes = 0

    def look(self) -> None:
        """Take one sample."""
        total = 0
        with contextlib.suppress(psutil.Error):
            for process in [self._root, *self._root.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    memory, cpu = process.memory_info(), process.cpu_times()
                    total += memory.rss - memory.shared
                    self._cpu[process.pid] = cpu.user + cpu.system
        self.peak_bytes = max(self.peak_bytes, total)

    @property
    def cpu_seconds(self) -> float:
        """Processor time seen, of children that nobody waited for too."""
        return sum(self._cpu.values())


def measure(
    words: list[str], environment: Mapping[str, str], *, limit: float = 3600
) -> dict[str, Any]:
    """Run a command; return the JSON of its last line and what it took.

    Added are ``process_wall``, ``cpu`` (seconds of user and system time of the process and its
    children; without ``cpu_before`` if the child says how much it had used before it began),
    ``peak_bytes`` (resident minus shared memory of the process tree) and ``sync`` (seconds of the
    sync that follows).

    Raises
    ------
    RunError
        If the command fails, takes longer than ``limit`` seconds, or says nothing.
    """
    os.sync()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        child = subprocess.Popen(
            words, stdout=out, stderr=err, env=dict(environment), start_new_session=True
        )
        watch = Watch(child.pid)
        try:
            status, usage = _wait(child, watch, start + limit)
        finally:
            _end_group(child)
        wall = time.perf_counter() - start
        start = time.perf_counter()
        os.sync()
        sync = time.perf_counter() - start
        if status != 0:
            raise RunError(_why(err, status))
        found = _last_line(out)
    cpu = max(usage.ru_utime + usage.ru_stime, watch.cpu_seconds)
    return {
        **found,
        "process_wall": wall,
        "cpu": cpu - found.pop("cpu_before", 0.0),
        "peak_bytes": watch.peak_bytes,
        "sync": sync,
    }


def _wait(child: subprocess.Popen[bytes], watch: Watch, until: float) -> tuple[int, Any]:
    while True:
        watch.look()
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode, usage
        if time.perf_counter() > until:
            child.kill()
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode, usage
        time.sleep(INTERVAL)


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """End what the child left running; the group is its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _why(err: Any, status: int) -> str:
    err.seek(0)
    lines = [line.strip() for line in err.read().splitlines() if line.strip()]
    return f"exit status {status}: {lines[-1] if lines else 'no message'}"


def _last_line(out: Any) -> dict[str, Any]:
    out.seek(0)
    for line in reversed(out.read().splitlines()):
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    raise RunError("no result was printed")


def stored(output: Path) -> dict[str, int]:
    """Return bytes and number of the files of a folder."""
    sizes = [file.stat().st_size for file in output.rglob("*") if file.is_file()]
    return {"bytes": sum(sizes), "files": len(sizes)}
