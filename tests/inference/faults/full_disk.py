"""Runs into a disk that is full at one moment, and out of it again; prints what happened.

``python full_disk.py FOLDER tmpfs|rlimit``: the first mounts a small file system, which takes a
mount namespace; the second asks the kernel to refuse every write into a file.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fakes import fibre, save_brain
from labs import AROUND, Lab

from neuroconn.errors import NeuroconnError
from neuroconn.inference import coarse, run, task
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.output.run_folder import RunFolder
from neuroconn.inference.output.verify import verify
from neuroconn.inference.watching.events import EventLog

MOMENTS: dict[str, tuple[Any, str, int]] = {
    "output": (run, "create_output", 1),
    "lock": (run.Journal, "open", 1),
    "seeds": (RunFolder, "add_seeds", 1),
    "core": (task, "write_region", 3),
    "journal": (Journal, "append", 0),
    "failures": (Journal, "note_failure", 0),
    "events": (EventLog, "write", 0),
    "pyramid": (coarse, "write_region", 4),
    "report": (RunFolder, "write_report", 1),
}
"""Where the disk is full: a function, and which call of it, or 0 for all."""


class Tmpfs:
    """A file system of its own, filled to the last page."""

    def __init__(self, at: Path) -> None:
        at.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", at], check=True)
        self._at, self._ballast = at, at / "ballast"

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Take no writes at all."""
        for mode in ("ro", "rw"):
            subprocess.run(["mount", "-o", f"remount,{mode}", self._at], check=True)
            if mode == "ro":
                yield

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no room."""
        with self._ballast.open("wb", buffering=0) as file:
            for size in (1 << 16, 1 << 12):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    pass
        try:
            yield
        finally:
            self._ballast.unlink()


class Limit:
    """Files that must not grow."""

    def __init__(self, at: Path) -> None:
        at.mkdir()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Refuse what would make a file longer than three bytes."""
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def once(owner: Any, name: str, number: int, full: Callable[[], Any]) -> Callable[[], None]:
    """Fill the disk during a call of a function; returns what undoes it."""
    kept = owner.__dict__[name]
    real, calls = getattr(owner, name), [0]

    @functools.wraps(real)
    def troubled(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if number in (0, calls[0]):
            with full():
                return real(*arguments, **options)
        return real(*arguments, **options)

    setattr(owner, name, troubled)
    return lambda: setattr(owner, name, kept)


def attempt(lab: Lab, name: str, **options: Any) -> dict[str, Any]:
    """Run; say how it ended."""
    try:
        report = lab.run(name, **AROUND, **options)
    except NeuroconnError as error:
        return {"exit_code": error.exit_code, "said": str(error)}
    except OSError as error:  # a traceback, to a user
        return {"exit_code": 1, "said": f"unexpected {error!r}"}
    return {
        "exit_code": report.exit_code,
        "inferred": report.inferred,
        "said": " ".join([*report.exceptions, *report.warnings]),
    }


def leftovers(lab: Lab, name: str) -> list[str]:
    """Files that a write which failed has left."""
    files = (p for p in lab.output(name).parent.rglob("*") if p.is_file())
    return [str(p) for p in files if "part" in p.name or p.name.startswith("lock")]


def scenario(lab: Lab, disk: Tmpfs | Limit, moment: str) -> dict[str, Any]:
    """Meet the full disk at one moment, make room, and run on."""
    owner, name, number = MOMENTS[moment]
    os.environ["FAKE"] = json.dumps({"nan": 901}) if moment == "failures" else "{}"
    undo = once(owner, name, number, disk.full)
    met = attempt(lab, moment)
    undo()
    os.environ["FAKE"] = "{}"
    exists = lab.output(moment).exists()
    return {
        "met": met,
        "left": leftovers(lab, moment),
        "damaged": len(verify(lab.output(moment)).damaged) if exists else 0,
        "resumed": attempt(lab, moment, retry_failed=moment == "failures"),
        "third": attempt(lab, moment),
        "calm": lab.bytes(moment) == lab.bytes("calm"),
    }


def main() -> None:
    """Go through the moments."""
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    disk = (Tmpfs if kind == "tmpfs" else Limit)(folder / "disk")
    lab = Lab(folder / "disk")
    lab.brain = folder / "brain.zarr"
    volume = fibre()
    volume[24, 40, 40] = 901
    save_brain(lab.brain, volume)
    attempt(lab, "calm")
    told = {moment: scenario(lab, disk, moment) for moment in MOMENTS}
    if isinstance(disk, Tmpfs):
        with disk.read_only():
            told |= {f"read-only, {name}": attempt(lab, name) for name in ("new", "core")}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
