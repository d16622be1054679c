"""Run a study of ``configs/experiments``: train, score and compare every network and loss.

::

    python tests/benchmarks/study/study.py configs/experiments/connectivity.yaml runs/study --jobs 2

Stopped at any time, the same command goes on. A run that has its scores is not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from study_plan import Cell, StudySettings, cells, overrides, read_study
from study_report import write_report

_HERE = Path(__file__).parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and score what is missing, then write the report."""
    options = parse(arguments)
    study = read_study(options.study, *options.assignments)
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [cell for cell in cells(study) if chosen(cell, options)]
    if not options.report_only:
        run_all(study, wanted, folder, options)
        call(_HERE / "study_picture.py", options.study, folder, *_sets(options))
    print(write_report(study, folder))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path, help="a file of configs/experiments")
    parser.add_argument("folder", type=Path, help="where runs and report go")
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="K=V")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, one thread each")
    parser.add_argument("--network", nargs="+", default=[], help="only these")
    parser.add_argument("--loss", nargs="+", default=[], help="only these")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--labelled", nargs=2, type=Path, metavar=("IMAGE", "LABEL"))
    parser.add_argument("--label", type=int, default=2, help="value of neurites in LABEL")
    parser.add_argument("--planes", type=int, nargs="+", default=[], help="labelled planes")
    parser.add_argument("--report-only", action="store_true")
    return parser.parse_args(arguments)


def chosen(cell: Cell, options: argparse.Namespace) -> bool:
    """Whether the command line asks for a run; trunks belong to every loss."""
    if options.network and cell.network not in options.network:
        return False
    return cell.stage == "trunk" or not options.loss or cell.loss in options.loss


def run_all(
    study: StudySettings, wanted: Iterable[Cell], folder: Path, options: argparse.Namespace
) -> None:
    """Run every cell, a trunk before its branches, ``jobs`` at once."""
    done = {cell.name: threading.Event() for cell in cells(study)}
    failed: list[str] = []

    def work(cell: Cell) -> None:
        if cell.stage == "branch":
            done[Cell(cell.network, cell.loss, cell.seed, "trunk").name].wait()
        try:
            if not failed:
                run_cell(study, cell, folder, options)
        except Exception as error:
            failed.append(f"{cell.name}: {error}")
        finally:
            done[cell.name].set()

    # Trunks come before their branches, and so never wait for a free place behind them.
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(work, wanted))
    if failed:
        raise SystemExit("\n".join(failed))


def run_cell(study: StudySettings, cell: Cell, folder: Path, options: argparse.Namespace) -> None:
    """Train one run and, of a branch, write ``scores.json``."""
    place = folder / cell.name
    if (place / ("scores.json" if cell.stage == "branch" else "model/model.json")).exists():
        return
    config = folder / f"{cell.name}.yaml"
    merged: dict[str, object] = {}
    for layer in overrides(study, cell, folder):
        _merge(merged, layer)
    config.write_text(yaml.safe_dump(merged, sort_keys=False))
    began = time.monotonic()
    call("-m", "neuroconn", "train", config, place, "--threads", "1", "--device", options.device)
    trained = time.monotonic() - began
    if cell.stage == "branch":
        extra: list[object] = []
        if options.labelled:
            extra = ["--labelled", *options.labelled, "--label", options.label]
            extra += ["--planes", *options.planes] if options.planes else []
        call(_HERE / "study_score.py", options.study, place, *_sets(options), *extra)
    say(f"{cell.name}: {trained:.0f} s of training, {time.monotonic() - began:.0f} s in all")


def call(*arguments: object) -> None:
    """Run Python on something, with one thread; show what it said if it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout)[-2000:])


def say(line: str) -> None:
    """Write a line of progress to stderr."""
    print(line, file=sys.stderr, flush=True)


def _sets(options: argparse.Namespace) -> list[str]:
    return [part for assignment in options.assignments for part in ("--set", assignment)]


def _merge(into: dict[str, object], layer: dict[str, object]) -> None:
    from neuroconn.config.base import _merge as merge

    merge(into, json.loads(json.dumps(layer)))


if __name__ == "__main__":
    sys.exit(main())
