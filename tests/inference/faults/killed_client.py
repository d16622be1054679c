"""Runs whose process is killed at one step of the loop, and run again; prints what happened.

``python killed_client.py FOLDER``. Every run is a fork of this process, which itself opens nothing:
zarr's threads would not survive a fork.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakes import fibre, save_brain
from labs import Lab

from neuroconn.inference import coarse, exploration, task
from neuroconn.inference.journal import file as journal_file
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.output.verify import verify

STEPS: dict[str, tuple[Any, str, int, str]] = {
    "before the core is written": (task, "write_region", 3, "before"),
    "between core and journal": (task, "write_region", 3, "after"),
    "between worker and journal": (Journal, "append", 3, "before"),
    "in the middle of a line": (journal_file, "_write_all", 3, "half"),
    "between journal and frontier": (Journal, "append", 3, "after"),
    "between two levels' objects": (coarse, "write_region", 2, "after"),
    "between pyramid and report": (exploration, "make_report", 1, "before"),
}
"""Where the process dies: a function, which call of it, and when."""


def die(owner: Any, name: str, number: int, when: str) -> None:
    """Have a function kill this process."""
    real, calls = getattr(owner, name), [0]

    def deadly(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == number and when == "half":
            descriptor, data = arguments
            os.write(descriptor, data[: len(data) // 2])
        if calls[0] == number and when != "after":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = real(*arguments, **options)
        if calls[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, name, deadly)


def forked(work: Callable[[], Any]) -> tuple[int, Any]:
    """Do some work in a process of its own; how it ended, and what it found."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        status = 1
        try:
            os.write(writing, json.dumps(work()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), json.loads(said or "null")


def killed(lab: Lab, step: str) -> None:
    """Run up to a step."""
    die(*STEPS[step])
    lab.run(step)


def run_on(lab: Lab, step: str) -> dict[str, Any]:
    """Run the same command twice more."""
    before = len(lab.records(step))
    again, third = lab.run(step), lab.run(step)
    return {
        "journalled": before,
        "inferred": again.inferred,
        "visited": again.visited,
        "third": third.inferred,
        "sound": verify(lab.output(step)).sound,
        "calm": lab.bytes(step) == lab.bytes("calm"),
        "left": [p.name for p in lab.output(step).rglob("*.part*")],
    }


def main() -> None:
    """Go through the steps."""
    folder = Path(sys.argv[1])
    lab = Lab(folder)

    def calm() -> int:
        save_brain(lab.brain, fibre())
        return lab.run("calm").inferred

    told = {}
    assert forked(calm)[0] == 0
    for step in STEPS:
        ended, _ = forked(lambda step=step: killed(lab, step))  # type: ignore[misc]
        _, found = forked(lambda step=step: run_on(lab, step))  # type: ignore[misc]
        told[step] = {"ended": ended, **(found or {})}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
