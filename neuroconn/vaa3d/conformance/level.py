"""One ``RES(...)`` folder: its table, its files, and whether the one lists the others."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from neuroconn.geometry import ZYX
from neuroconn.vaa3d.conformance.findings import Finding, LevelFacts, finding
from neuroconn.vaa3d.conformance.layout import TableJudge, judge_header, leads_inside
from neuroconn.vaa3d.conformance.rules import Severity
from neuroconn.vaa3d.conformance.table import RawBlock, RawHeader, RawTable, TableFault
from neuroconn.vaa3d.conformance.tile import STACK_SUFFIXES, TIFF_SUFFIXES, Expected, judge_tile
from neuroconn.vaa3d.mdata import FORMAT_NAME
from neuroconn.vaa3d.named import named_shape

TABLE, FORMAT = "mdata.bin", ".iim.format"
PATH_LIMIT = 1024
"""Bytes of an absolute path with its closing NUL."""
_SUFFIXES = (*TIFF_SUFFIXES, *STACK_SUFFIXES)


@dataclass(frozen=True, slots=True)
class ColumnJob:
    """A folder of tiles to look into."""

    folder: str
    """Relative to the level."""
    blocks: tuple[RawBlock, ...] | None
    """What the table lists; None without a table."""
    shape: tuple[int, int] = (0, 0)
    itemsize: int = 0


@dataclass(frozen=True, slots=True)
class ColumnResult:
    """What a folder of tiles holds."""

    findings: tuple[Finding, ...]
    tiles: int
    bytes: int = 0
    encodings: Counter[str] = field(default_factory=Counter)


class LevelCheck:
    """A level under check.

    Parameters
    ----------
    tree : Path
        The folder of the levels.
    name : str
        The level's folder.
    """

    def __init__(self, tree: Path, name: str) -> None:
        self.path, self.name = tree / name, name
        self.header: RawHeader | None = None
        self.widths: Counter[int] = Counter()
        self.itemsize: int | None = None
        self.tiles = self.empty = self.bytes = 0
        self.encodings: Counter[str] = Counter()
        self.made_by: str | None = None
        self._data = b""
        self._root_bytes = len(os.fsencode(self.path.absolute()))
        self._safe: set[str] = set()

    @property
    def shape(self) -> ZYX | None:
        """Voxels (z, y, x), from the table or the folder's name."""
        return self.header.shape if self.header else named_shape(self.path)

    @property
    def tabled(self) -> bool:
        """Whether there is a table that can be followed."""
        return self.header is not None

    def facts(self) -> LevelFacts:
        """Return what the report says of the level."""
        head = self.header
        return LevelFacts(
            folder=self.name,
            shape=self.shape,
            spacing_um=head.spacing_um if head else None,
            origin_um=head.origin_um if head else None,
            dtype={1: "uint8", 2: "uint16"}.get(self.itemsize or 0),
            tiles=self.tiles,
            empty=self.empty,
            bytes=self.bytes,
            encodings=tuple(sorted(self.encodings.items())),
            made_by=self.made_by,
        )

    def judge_table(self) -> Iterator[Finding]:
        """Check ``mdata.bin`` and ``.iim.format`` by themselves; opens no tile."""
        yield from self._judge_format()
        where = f"{self.name}/{TABLE}"
        try:
            self._data = (self.path / TABLE).read_bytes()
        except FileNotFoundError:
            yield finding("level.table-missing", where, "there is no such file")
            self._count_files()
            return
        except OSError as error:
            yield finding("table.damaged", where, f"it cannot be read: {error.strerror}")
            self._count_files()
            return
        try:
            yield from self._follow(RawTable(self._data))
        except TableFault as fault:
            yield finding("table.damaged", where, f"it {fault}")
            self.header, self.tiles, self.empty = None, 0, 0
            self._count_files()

    def _judge_format(self) -> Iterator[Finding]:
        path, where = self.path / FORMAT, f"{self.name}/{FORMAT}"
        try:
            found = path.read_bytes()
        except OSError:
            yield finding("level.format-missing", where, "there is no such file")
            return
        if found != FORMAT_NAME.encode():
            # Trees of the reference writer's relatives end in a line feed, which readers strip.
            alike = found.strip() == FORMAT_NAME.encode()
            grave: Severity = "warning" if alike else "error"
            yield finding("level.format-wrong", where, f"it holds {found[:40]!r}", grave)

    def _follow(self, table: RawTable) -> Iterator[Finding]:
        self.header = table.header
        yield from judge_header(table.header, f"{self.name}/{TABLE}")
        judge = TableJudge(table.header, self.name)
        for column in table.columns():
            if self.itemsize is None:
                self.itemsize = column.itemsize
            self.tiles += len(column.blocks)
            self.empty += sum(block.empty for block in column.blocks)
            yield from judge.column(column)
            # Tiles are looked for inside the level only, whatever the table says.
            if leads_inside(column):
                self._safe.add(column.folder)
        yield from judge.end()
        self.widths = judge.widths

    def _count_files(self) -> None:
        for job in self._jobs_of_files():
            self.tiles += len(_tiles(self.path / job.folder))

    def jobs(self) -> Iterator[ColumnJob]:
        """Return the folders of tiles to look into."""
        if not self.tabled:
            yield from self._jobs_of_files()
            return
        for column in RawTable(self._data).columns():
            if leads_inside(column):
                yield ColumnJob(column.folder, column.blocks, column.shape, column.itemsize)

    def _jobs_of_files(self) -> Iterator[ColumnJob]:
        for row in _counted(self.path):
            for column in _counted(self.path / row):
                yield ColumnJob(f"{row}/{column}", None)

    def strays(self) -> Iterator[Finding]:
        """Find folders and files that a new import takes for rows and columns."""
        if not self.tabled:
            return
        rows: dict[str, set[str]] = {}
        for parts in map(PurePosixPath, self._safe):
            rows.setdefault(parts.parts[0], set()).add("/".join(parts.parts[1:]))
        for name in sorted(set(_counted(self.path, folders=False)) - set(rows)):
            yield finding("level.stray", f"{self.name}/{name}", "a new import takes it for a row")
        for row, columns in sorted(rows.items()):
            for name in sorted(set(_counted(self.path / row, folders=False)) - columns):
                where = f"{self.name}/{row}/{name}"
                yield finding("level.stray", where, "a new import takes it for a column")

    def look(self, job: ColumnJob, *, headers: bool) -> ColumnResult:
        """Check the tiles of one folder; safe in threads."""
        folder, where = self.path / job.folder, f"{self.name}/{job.folder}"
        try:
            with os.scandir(folder) as entries:
                there = {entry.name for entry in entries if "." in entry.name}
        except (FileNotFoundError, NotADirectoryError):
            there = set()
        except OSError as error:
            found = finding("tile.unreadable", where, f"it cannot be listed: {error.strerror}")
            return ColumnResult((found,), len(job.blocks or ()))
        if job.blocks is None:
            return self._look_at_files(job, there, headers=headers)
        findings = list(self._missing(job, there))
        findings += self._unlisted(job, there)
        listed = [b for b in job.blocks if not b.empty and b.name in there]
        longest = max((len(os.fsencode(block.name)) for block in job.blocks), default=0)
        findings += self._too_long(job.folder, longest)
        size, encodings = 0, Counter[str]()
        for block in listed if headers else ():
            expected = Expected((block.depth, *job.shape), job.itemsize)
            tile = judge_tile(folder / block.name, f"{where}/{block.name}", expected)
            findings += tile.findings
            size += tile.bytes
            encodings[tile.encoding] += 1
        return ColumnResult(tuple(findings), len(job.blocks), size, encodings)

    def tiles_of(self, job: ColumnJob) -> list[Path]:
        """Return the tiles of a folder that are there, listed ones if there is a list."""
        folder = self.path / job.folder
        there = _tiles(folder)
        if job.blocks is not None:
            there &= {block.name for block in job.blocks}
        return [folder / name for name in sorted(there)]

    def take(self, result: ColumnResult) -> None:
        """Add up what was met in a folder."""
        self.bytes += result.bytes
        self.encodings += result.encodings

    def _too_long(self, folder: str, longest: int) -> Iterator[Finding]:
        length = self._root_bytes + 1 + len(os.fsencode(folder)) + 1 + longest
        if length >= PATH_LIMIT:
            what = f"paths of {length} bytes, Vaa3D reads fewer than {PATH_LIMIT}"
            yield finding("tree.path-length", f"{self.name}/{folder}", what)

    def _missing(self, job: ColumnJob, there: set[str]) -> Iterator[Finding]:
        for block in job.blocks or ():
            if not block.empty and block.name not in there:
                where = f"{self.name}/{job.folder}/{block.name}"
                yield finding("level.tile-missing", where, "mdata.bin lists it")

    def _unlisted(self, job: ColumnJob, there: set[str]) -> Iterator[Finding]:
        listed = {block.name for block in job.blocks or ()}
        for name in sorted(there - listed):
            where = f"{self.name}/{job.folder}/{name}"
            if name.endswith(_SUFFIXES) and not name.startswith("."):
                yield finding("level.unlisted", where, "mdata.bin does not list it")
            else:
                yield finding("level.stray", where, "a new import takes it for a tile")

    def _look_at_files(self, job: ColumnJob, there: set[str], *, headers: bool) -> ColumnResult:
        folder, where = self.path / job.folder, f"{self.name}/{job.folder}"
        tiles = sorted(_is_tile(there))
        findings = [
            finding("level.stray", f"{where}/{name}", "an import takes it for a tile", "error")
            for name in sorted(there - set(tiles))
        ]
        size, encodings = 0, Counter[str]()
        for name in tiles if headers else ():
            tile = judge_tile(folder / name, f"{where}/{name}", None)
            findings += tile.findings
            size += tile.bytes
            encodings[tile.encoding] += 1
        return ColumnResult(tuple(findings), len(tiles), size, encodings)


def _is_tile(names: Iterable[str]) -> set[str]:
    return {n for n in names if n.lower().endswith(_SUFFIXES) and not n.startswith(".")}


def _tiles(folder: Path) -> set[str]:
    try:
        return _is_tile(path.name for path in folder.iterdir())
    except OSError:
        return set()


def _counted(folder: Path, *, folders: bool = True) -> list[str]:
    """Names that TeraFly takes for rows or columns: those without a dot and without a blank."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if not {".", " "} & set(entry.name) and (not folders or entry.is_dir())
            )
    except OSError:
        return []
