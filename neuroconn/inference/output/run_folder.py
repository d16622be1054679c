"""The output of a run: a distance map, with the run folder inside it.

::

    distance.ome.zarr/           a folder, or s3://bucket/distance.ome.zarr
      zarr.json  0/  1/ ...      the map, an OME-Zarr image of its own
      run/
        identity.json            what the run is: weights, brain, grid, rules, ...
        journal.jsonl            what is done; the only thing a resumed run believes
        seeds.jsonl              chunks the walk started from, one run a line
        events.jsonl             incidents, for people
        failures.jsonl           why chunks were given up
        report.json              counts and exceptions, written when a run ends
        lock                     the client at work
        zarr.json                says "an empty array", so that Zarr readers do not look inside

On an object store ``journal.jsonl`` and the other logs are prefixes of numbered objects
(:mod:`neuroconn.inference.journal.segments`). There the identity comes first and the ``zarr.json``
of the map last: in between is a run without a map, which the same command finishes.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroconn._version import __version__
from neuroconn.errors import OutputError, StorageError
from neuroconn.geometry import ZYX, ChunkGrid, Frame, Level
from neuroconn.inference.encoding import Encoding
from neuroconn.inference.identity import differences, run_identity
from neuroconn.inference.journal.journal import IDENTITY, Journal, identity_text
from neuroconn.inference.output.folder import Log, explained, open_folder
from neuroconn.volume import connection
from neuroconn.volume.address import Address, ObjectPath, address_of
from neuroconn.volume.creation import Note
from neuroconn.volume.object_store import ROOTS
from neuroconn.volume.objects import Objects
from neuroconn.volume.store import Image, create_image

RUN = "run"
_NOTE = Note(
    RUN, {"neuroconn": {"what": "journal and report of the run; no voxels", "by": __version__}}
)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run keeps what is not voxels."""

    path: Address

    @property
    def events(self) -> Log:
        """Incidents, one JSON object a line."""
        return Log(open_folder(self.path), "events")

    def incidents(self) -> Iterator[dict[str, Any]]:
        """Yield what was written to :attr:`events`, oldest first."""
        yield from (note for note in self._notes("events") if isinstance(note, dict))

    def failures(self) -> dict[ZYX, str]:
        """Return why chunks were given up, the latest reason of each."""
        found: dict[ZYX, str] = {}
        for note in self._notes("failures"):
            z, y, x = note["zyx"]
            found[z, y, x] = str(note["reason"])
        return found

    def running(self) -> dict[str, Any] | None:
        """Return host and pid of the client at work; None if there is none."""
        return open_folder(self.path).holder()

    def seeds(self, grid: ChunkGrid) -> Iterable[ZYX]:
        """Chunks any run into this output started from; the grid itself if that was all of them."""
        notes = list(self._notes("seeds"))
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
            open_folder(self.path).add("seeds", json.dumps(fresh))

    def read_json(self, name: str) -> Any:
        """Return the document ``name``; None if it was never written."""
        text = open_folder(self.path).read(f"{name}.json")
        return None if text is None else json.loads(text)

    def write_json(self, name: str, value: Any) -> None:
        """Replace the document ``name``, whole or not at all, and durably."""
        open_folder(self.path).write(f"{name}.json", json.dumps(value).encode())

    def read_bytes(self, name: str) -> bytes | None:
        """Return the file ``name``, such as a page for people; None if it was never written."""
        return open_folder(self.path).read(name)

    def write_bytes(self, name: str, data: bytes) -> None:
        """Replace the file ``name``, whole or not at all."""
        open_folder(self.path).write(name, data)

    def write_report(self, report: Mapping[str, Any]) -> None:
        """Replace the report, whole or not at all."""
        open_folder(self.path).write("report.json", f"{json.dumps(report, indent=1)}\n".encode())

    def read_report(self) -> dict[str, Any]:
        """Return the last report; empty if no run has ended yet."""
        try:
            return dict(self.read_json("report") or {})
        except ValueError:
            return {}

    def _notes(self, log: str) -> Iterator[Any]:
        """Yield the JSON values of a log; a line that a crash tore is none."""
        for line in open_folder(self.path).lines(log):
            try:
                yield json.loads(line)
            except ValueError:  # torn, or empty
                continue


def find_run(output: str | Address) -> RunFolder | None:
    """Return the run folder of an output, or None if there is none."""
    path = address_of(output) / RUN
    if isinstance(path, ObjectPath):
        # A server that does not answer is given up within seconds here, and within minutes later.
        found = Objects(path, connection.OPENING).size(IDENTITY) is not None
    else:
        found = Journal.exists(path)
    return RunFolder(path) if found else None


def require_run(output: str | Address) -> RunFolder:
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


def check_output(output: str | Address, identity: Mapping[str, Any]) -> RunFolder | None:
    """Return the run to resume, or None if the output is free or its creation was cut short.

    Raises
    ------
    OutputError
        If the path holds anything else, or a run of another identity; the message names what
        differs.
    StorageError
        If an object store refuses, or has no such bucket.
    """
    output = address_of(output)
    if isinstance(output, ObjectPath):
        return _check_store(output, identity)
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise OutputError(f"{output} is a file or a link; choose another output")
    folder = find_run(output)
    if folder is None:
        if output.is_dir() and any(output.iterdir()):
            raise OutputError(_not_ours(output))
        return None
    _check_identity(folder, output, identity)
    return folder


def create_output(
    output: str | Address,
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

    On an object store a crash may leave a run without a map; the same call finishes it.

    Raises
    ------
    OutputError
        If something appeared at the path meanwhile.
    StorageError
        If the storage refuses.
    """
    output = address_of(output)
    image: dict[str, Any] = {
        "levels": levels,
        "dtype": encoding.dtype,
        "frame": frame,
        "chunk": inner_chunk,
        "shard": grid.chunk,
        "fill_value": encoding.fill,
        "kind": "distance",
        "attributes": attributes,
        "array_attributes": encoding.attributes(),
        "spacing_known": spacing_known,
        "downsample": "min",
        "notes": [_NOTE],
    }
    if isinstance(output, ObjectPath):
        _claim(output, identity)
        create_image(output, **image, resume=True)
    else:
        with explained(output):
            _create_folder(output, identity, image)
    return RunFolder(output / RUN)


def _create_folder(output: Path, identity: Mapping[str, Any], image: dict[str, Any]) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    nursery = Path(
        tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent)
    )
    try:
        new = nursery / output.name
        create_image(new, **image)
        Journal.create(new / RUN, identity).close()
        try:
            new.rename(output)
        except OSError as error:
            raise OutputError(f"cannot create {output}: {error}") from None
    finally:
        shutil.rmtree(nursery, ignore_errors=True)


def _claim(output: ObjectPath, identity: Mapping[str, Any]) -> None:
    """Say on an object store whose run this is, before anything else is there."""
    objects = Objects(output / RUN)
    text = identity_text(run_identity(**identity))
    if not objects.create(IDENTITY, text):
        _check_identity(RunFolder(output / RUN), output, identity)
    if not objects.keeps_first(IDENTITY, text):
        raise StorageError(
            f"the server of {output} overwrites what a request asks it to keep (If-None-Match), so "
            "that two clients would undo each other's work. Take an output in a folder, or a "
            "server with conditional writes"
        )


def _check_store(output: ObjectPath, identity: Mapping[str, Any]) -> RunFolder | None:
    if not output.writable:
        raise OutputError(
            f"{output} can only be read; outputs go to folders and to s3:// addresses"
        )
    objects = Objects(output)
    folder = find_run(output)
    if folder is None:
        # A lock alone is what a start leaves that was cut short.
        if any(key != f"{RUN}/lock" for key, _ in objects.list()):
            raise OutputError(_not_ours(output))
        return None
    _check_identity(folder, output, identity)
    return folder if objects.size(ROOTS[0]) is not None else None


def _check_identity(folder: RunFolder, output: Address, identity: Mapping[str, Any]) -> None:
    differing = differences(Journal.read(folder.path).identity, identity)
    if differing:
        raise OutputError(
            f"{output} holds a run with other settings ({'; '.join(differing)}); mixing them would "
            "make a map of two kinds of chunks. Use the same ones, or another output."
        )


def _not_ours(output: Address) -> str:
    return (
        f"{output} holds something that is not ours, and nothing is ever overwritten; "
        "choose another output"
    )


def level_of(brain: Image, level: int) -> tuple[list[Level], Frame]:
    """Levels and frame of a map as large as one level of the brain."""
    base = brain.levels[level]
    levels = []
    for number, coarse in enumerate(brain.levels[level:]):
        z, y, x = (a // b for a, b in zip(coarse.factor, base.factor, strict=True))
        levels.append(Level(coarse.shape, (z, y, x), coarse.step if number else (1, 1, 1)))
    return levels, brain.frames[level]
