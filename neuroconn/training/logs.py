"""What a run writes about itself: CSV and JSON lines always, TensorBoard where it is installed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from neuroconn.errors import UsageError
from neuroconn.vaa3d.files import storage_errors

Row: TypeAlias = Mapping[str, float]
"""Numbers of one moment, by column; a column may be absent."""


@dataclass(frozen=True, slots=True)
class Logs:
    """``log.jsonl``, and the same rows as ``log.csv``."""

    folder: Path

    @property
    def jsonl(self) -> Path:
        """One JSON object a row."""
        return self.folder / "log.jsonl"

    @property
    def csv(self) -> Path:
        """The same as a table; a number that a row lacks is an empty cell."""
        return self.folder / "log.csv"

    def append(self, row: Row) -> None:
        """Append a row to both files.

        Raises
        ------
        StorageError
            If the disk is full.
        """
        with storage_errors(self.jsonl), self.jsonl.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        with storage_errors(self.csv):
            columns = self._columns()
            if not set(row) <= set(columns):
                self._write_table(self.rows())
                return
            with self.csv.open("a", encoding="utf-8") as file:
                file.write(_line(columns, row))

    def rows(self) -> list[dict[str, float]]:
        """Every row that is whole."""
        if not self.jsonl.is_file():
            return []
        lines = self.jsonl.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def cut(self, iteration: int) -> None:
        """Drop rows that a resumed run will write again, and a last line that was cut off."""
        if not self.jsonl.is_file():
            return
        rows = [row for row in self.rows() if row["iteration"] <= iteration]
        with storage_errors(self.jsonl):
            write_whole(self.jsonl, "".join(json.dumps(row) + "\n" for row in rows).encode())
            self._write_table(rows)

    def _columns(self) -> list[str]:
        if not self.csv.is_file():
            return []
        with self.csv.open(encoding="utf-8") as file:
            return file.readline().strip().split(",")

    def _write_table(self, rows: Iterable[Row]) -> None:
        rows = list(rows)
        columns = list(dict.fromkeys(name for row in rows for name in row))
        if not rows:
            self.csv.unlink(missing_ok=True)
            return
        text = ",".join(columns) + "\n" + "".join(_line(columns, row) for row in rows)
        write_whole(self.csv, text.encode())


class Board:
    """Rows and pictures for TensorBoard, in ``tensorboard/``; without the extra it does nothing.

    Parameters
    ----------
    folder : path
        The run's.
    wanted : bool or None
        None takes it where it is installed.
    first : int
        Iteration the run goes on from; what is later is dropped.

    Raises
    ------
    UsageError
        If it is wanted and not installed.
    """

    def __init__(self, folder: Path, wanted: bool | None, first: int) -> None:
        installed = find_spec("tensorboard") is not None
        if wanted and not installed:
            raise UsageError(
                "tensorboard: true, but TensorBoard is not installed: pip install "
                "'neuroconn[tensorboard]', or set tensorboard: null"
            )
        self._writer: Any = None
        if installed and wanted is not False:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first + 1)

    def add(self, row: Row) -> None:
        """Show a row; one curve a column."""
        if self._writer is None:
            return
        for name, value in row.items():
            if name != "iteration":
                self._writer.add_scalar(name.replace("_", "/", 1), value, int(row["iteration"]))

    def show(self, picture: Any, iteration: int) -> None:
        """Show a picture, uint8 of shape (rows, columns, 3)."""
        if self._writer is not None:
            self._writer.add_image("crops", picture, iteration, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


def write_whole(path: Path, data: bytes) -> None:
    """Replace a small file; the old one stays until the new one is whole."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _line(columns: Iterable[str], row: Row) -> str:
    return ",".join(f"{row[c]:.6g}" if c in row else "" for c in columns) + "\n"
