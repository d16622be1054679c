"""The output of a run: a distance map, with the run folder inside it.

::

    distance.ome.zarr/
      zarr.json  0/  1/ ...      the map, an OME-Zarr image of its own
      run/
        identity.json            what the run is: weights, brain, grid, rules, ...
        journal.jsonl            what is done; the only thing a resumed run believes
        seeds.jsonl              chunks the walk started from, one run a line
        events.jsonl             incidents, for people
        report.json              counts and exceptions, written when a run ends
        zarr.json                says "an empty array", so that Zarr readers do not look inside
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr

from neuroconn._version import __version__
from neuroconn.errors import OutputError
from neuroconn.geometry import ZYX, ChunkGrid, Frame, Level
from neuroconn.inference.encoding import Encoding
from neuroconn.inference.identity import differences
from neuroconn.inference.journal import Journal
from neuroconn.volume.store import Image, create_image

RUN = "run"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run keeps what is not voxels."""

    path: Path

    @property
    def events(self) -> Path:
        """Incidents, one JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def report(self) -> Path:
        """How the last run ended."""
        return self.path / "report.json"

    def seeds(self, grid: ChunkGrid) -> Iterable[ZYX]:
        """Chunks any run into this output started from; the grid itself if that was all of them."""
        path = self.path / "seeds.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        notes = [note for line in lines if (note := _whole_json(line)) is not None]
        if "all" in notes:
            return grid
        return {(z, y, x) for note in notes for z, y, x in note}

    def add_seeds(self, chunks: Iterable[ZYX], grid: ChunkGrid) -> None:
        """Remember new seeds; a seed whose chunk never ran must survive a crash."""
        known = self.seeds(grid)
        if known is grid:
            return
        fresh = "all" if chunks is grid else sorted(set(chunks) - set(known))
        if fresh:
            with (self.path / "seeds.jsonl").open("a", encoding="utf-8") as file:
                # The empty line ends one that a crash tore.
                file.write("\n" + json.dumps(fresh) + "\n")
                file.flush()
                os.fsync(file.fileno())

    def write_report(self, report: Mapping[str, Any]) -> None:
        """Replace the report, whole or not at all."""
        part = self.report.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        part.replace(self.report)

    def read_report(self) -> dict[str, Any]:
        """Return the last report; empty if no run has ended yet."""
        try:
            loaded: dict[str, Any] = json.loads(self.report.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return loaded


def find_run(output: Path) -> RunFolder | None:
    """Return the run folder of an output, or None if there is none."""
    folder = RunFolder(output / RUN)
    return folder if Journal.exists(folder.path) else None


def require_run(output: Path) -> RunFolder:
    """Return the run folder of an output.

    Raises
    ------
    OutputError
        If the path is not an output of ``infer``.
    """
    folder = find_run(output)
    if folder is None:
        raise OutputError(f"{output} is not an output of `neuroconn infer`: it has no {RUN} folder")
    return folder


def check_output(output: Path, identity: Mapping[str, Any]) -> RunFolder | None:
    """Return the run to resume, or None if the output is free.

    Raises
    ------
    OutputError
        If the path holds anything else, or a run of another identity; the message names what
        differs.
    """
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise OutputError(f"{output} is a file or a link; choose another output")
    folder = find_run(output)
    if folder is None:
        if output.is_dir() and any(output.iterdir()):
            raise OutputError(
                f"{output} holds something that is not ours, and nothing is ever overwritten; "
                "choose another output"
            )
        return None
    differing = differences(Journal.read(folder.path).identity, identity)
    if differing:
        raise OutputError(
            f"{output} holds a run with other settings ({'; '.join(differing)}); mixing them would "
            "make a map of two kinds of chunks. Use the same ones, or another output."
        )
    return folder


def create_output(
    output: Path,
    *,
    identity: Mapping[str, Any],
    grid: ChunkGrid,
    inner_chunk: int,
    levels: list[Level],
    frame: Frame,
    spacing_known: bool,
    encoding: Encoding,
    attributes: Mapping[str, Any],
) -> RunFolder:
    """Create an empty distance map with its run folder, or nothing at all.

    Raises
    ------
    OutputError
        If something appeared at the path meanwhile.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    nursery = Path(
        tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent)
    )
    try:
        new = nursery / output.name
        create_image(
            new,
            levels=levels,
            dtype=encoding.dtype,
            frame=frame,
            chunk=inner_chunk,
            shard=grid.chunk,
            fill_value=encoding.fill,
            kind="distance",
            attributes=attributes,
            array_attributes=encoding.attributes(),
            spacing_known=spacing_known,
            downsample="min",
        )
        _create_run(new, identity)
        try:
            new.rename(output)
        except OSError as error:
            raise OutputError(f"cannot create {output}: {error}") from None
    finally:
        shutil.rmtree(nursery, ignore_errors=True)
    return RunFolder(output / RUN)


def level_of(brain: Image, level: int) -> tuple[list[Level], Frame]:
    """Levels and frame of a map as large as one level of the brain."""
    base = brain.levels[level]
    levels = []
    for number, coarse in enumerate(brain.levels[level:]):
        z, y, x = (a // b for a, b in zip(coarse.factor, base.factor, strict=True))
        levels.append(Level(coarse.shape, (z, y, x), coarse.step if number else (1, 1, 1)))
    return levels, brain.frames[level]


def _create_run(output: Path, identity: Mapping[str, Any]) -> None:
    note: dict[str, Any] = {
        "neuroconn": {"what": "journal and report of the run; no voxels", "by": __version__}
    }
    # A Zarr group would make readers list the journal and warn about it; an array is not listed.
    zarr.open_group(str(output), mode="r+").create_array(
        RUN, shape=(1,), dtype="uint8", chunks=(1,), attributes=note
    )
    Journal.create(output / RUN, identity).close()


def _whole_json(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:  # a torn line: that run had not started yet
        return None
