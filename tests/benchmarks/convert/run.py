"""Converters side by side, on the same slices, against the least any of them must do.

``make bench-convert``, or ``python tests/benchmarks/convert/run.py --help``; see README.md here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brain import KINDS, Brain, write_slices
from measure import RunError, measure, stored
from report import table
from rows import CLEVEL, OURS, OURS_SPEED, ROWS, Row
from venvs import InstallError, peer_python

HERE = Path(__file__).parent
PROJECT = HERE.parents[2]
LEVELS = 4
ROOM = 8
"""Disk taken at most, in volumes: three sources, three payloads, an output and its checks."""


@dataclass
class Bench:
    """One comparison: where its files are, and what was found so far."""

    options: argparse.Namespace
    folder: Path
    rows: list[Row]
    sources: dict[str, Path] = field(default_factory=dict)
    pythons: dict[str, str] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)

    def prepare(self) -> None:
        """Write the slices, and make the environments; peers that cannot be had are noted."""
        shape = self.options.planes, self.options.height, self.options.width
        _check_space(self.folder, 2 * shape[0] * shape[1] * shape[2])
        self.found = {
            "settings": {"shape": shape, "rounds": self.options.rounds, "levels": LEVELS}
            | {"threads": self.options.threads},
            "machine": _machine(),
            "floor": {},
            "rows": {row.name: {"runs": [], "error": None} for row in self.rows},
        }
        brain = Brain(shape)
        for kind in KINDS:
            if kind == "none" or any(row.source == kind for row in self.rows):
                _say(f"slices: {kind}")
                target = self.folder / "sources"
                self.sources[kind] = write_slices(brain, target, kind, self.options.threads)
        for peer in dict.fromkeys(row.peer for row in self.rows if row.peer):
            _say(f"environment: {peer}")
            try:
                made = peer_python(self.options.venv, peer, self.options.python)
                self.pythons[peer] = str(made.absolute())
            except InstallError as error:
                for row in self.rows:
                    if row.peer == peer:
                        self.found["rows"][row.name]["error"] = f"not installed: {error}"

    def round(self, number: int) -> None:
        """Run every row once, then the parts of the floor on what ours wrote."""
        for row in self.rows:
            if not row.of and not self.found["rows"][row.name]["error"]:
                self._row(row, number)
        for name, words in self._parts().items():
            _say(f"round {number}: {name}")
            _warm(self.sources["none"])
            part = measure([sys.executable, str(HERE / "floor.py"), *words], self._environment())
            self.found["floor"].setdefault(name, []).append(part)

    def _row(self, row: Row, number: int) -> None:
        """Convert, keep what the floor needs, let the rows that read the output run; remove it."""
        output = self.folder / "run" / "brain.ome.zarr"
        try:
            if self._run(row, self.sources[row.source], output, number):
                self._keep_payload(row, output)
                for reader in self.rows:
                    if reader.of == row.name:
                        self._run(reader, output, output.with_name("nothing"), number)
        finally:
            shutil.rmtree(output.parent, ignore_errors=True)

    def _run(self, row: Row, source: Path, output: Path, number: int) -> bool:
        """Run one adapter and note what came of it; return whether it did what it should."""
        _say(f"round {number}: {row.name}")
        result = self.found["rows"][row.name]
        try:
            run = self._adapter(row, source, output)
            if not row.of:
                run |= stored(output)
                result["check"] = self._check(source, output)
        except RunError as error:
            result["error"] = str(error)
            _say(f"  failed: {error}")
            return False
        result["runs"].append(run)
        _say(f"  {run['wall']:.2f} s, sync {run['sync']:.2f} s, CPU {run['cpu']:.2f} s")
        return True

    def _adapter(self, row: Row, source: Path, output: Path) -> dict[str, Any]:
        output.parent.mkdir(parents=True, exist_ok=True)
        _warm(source)
        job = {
            "source": str(source),
            "output": str(output),
            "threads": self.options.threads,
            "levels": LEVELS if row.levels else 1,
            "option": row.option,
        }
        python = self.pythons[row.peer] if row.peer else sys.executable
        words = [python, str(HERE / "peers" / f"{row.script}.py"), json.dumps(job)]
        return measure(words, self._environment(row.peer), limit=self.options.limit)

    def _check(self, source: Path, output: Path) -> dict[str, Any]:
        words = [str(HERE / "check.py"), str(output), str(source), str(self.options.threads)]
        check = measure([sys.executable, *words], self._environment())
        if not check["equal"]:
            raise RunError("level 0 is not the source")
        return check

    def _keep_payload(self, row: Row, output: Path) -> None:
        """Keep the bytes that ours wrote, as one file, for the writing part of the floor."""
        if row.name not in (OURS, OURS_SPEED):
            return
        for name, folder in ((row.codec, output), (f"{row.codec}_level_0", output / "0")):
            payload = self._payload(name)
            if not payload.exists():
                with payload.open("wb") as target:
                    for file in sorted(folder.rglob("*")):
                        if file.is_file():
                            target.write(file.read_bytes())

    def _payload(self, name: str) -> Path:
        return self.folder / f"payload-{name}"

    def _parts(self) -> dict[str, list[str]]:
        """Arguments of floor.py by name of the part."""
        threads = str(self.options.threads)
        parts = {f"R {kind}": ["read", str(path), threads] for kind, path in self.sources.items()}
        for codec in dict.fromkeys(row.codec for row in self.rows):
            slices = str(self.sources["none"])
            parts[f"E {codec}"] = ["encode", slices, threads, str(LEVELS), str(CLEVEL[codec])]
            for name in (codec, f"{codec}_level_0"):
                if self._payload(name).is_file():
                    target = str(self.folder / "written")
                    parts[f"W {name}"] = ["write", str(self._payload(name)), target]
        return parts

    def _environment(self, peer: str = "") -> dict[str, str]:
        environment = dict(os.environ, OMP_NUM_THREADS=str(self.options.threads))
        if peer:  # neither our modules nor this user's settings
            environment.pop("PYTHONPATH", None)
            environment["HOME"] = str(self.folder / "home")
            Path(environment["HOME"]).mkdir(exist_ok=True)
        return environment


def _warm(folder: Path) -> None:
    """Read every file once, so that it comes from memory."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            file.read_bytes()


def _check_space(folder: Path, volume: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < ROOM * volume:
        raise SystemExit(
            f"{folder} has {free / 1e9:.1f} GB free and {ROOM * volume / 1e9:.1f} are needed; "
            "choose another --work or fewer --planes"
        )


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "?")
    return {
        "processor": model,
        "processors": os.cpu_count(),
        "used": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--planes", type=int, default=512)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="and processors, for everyone")
    parser.add_argument("--only", nargs="+", metavar="ROW", choices=[row.name for row in ROWS])
    parser.add_argument("--no-peers", action="store_true", help="ours and the floor alone")
    parser.add_argument("--venv", type=Path, default=PROJECT / ".bench-venv", help="environments")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the peers")
    parser.add_argument("--work", type=Path, help="where files go; a temporary folder if not given")
    parser.add_argument("--limit", type=float, default=1800, help="seconds a run may take")
    parser.add_argument("--results", type=Path, help="folder; by default one beside --venv's")
    options = parser.parse_args(words)
    options.results = options.results or options.venv / "results"
    return options


def main(words: list[str] | None = None) -> int:
    """Compare, and write the table and the JSON file; both grow round by round."""
    options = _arguments(words)
    rows = [row for row in ROWS if row.name in options.only] if options.only else ROWS
    rows = [row for row in rows if not (options.no_peers and row.peer)]
    usable = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, usable[: options.threads])
    for folder in filter(None, (options.work, options.results)):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-convert-", dir=options.work) as scratch:
        bench = Bench(options, Path(scratch), rows)
        bench.prepare()
        for number in range(1, options.rounds + 1):
            bench.round(number)
            text = json.dumps(bench.found, indent=1) + "\n"
            (options.results / "bench-convert.json").write_text(text)
            (options.results / "bench-convert.md").write_text(table(bench.found))
    print(table(bench.found))
    return int(any(result["error"] for result in bench.found["rows"].values()))


if __name__ == "__main__":
    sys.exit(main())
