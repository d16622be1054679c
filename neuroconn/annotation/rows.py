"""Rows of text files, with the line that each came from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuroconn.errors import AnnotationError


@dataclass(frozen=True, slots=True)
class Row:
    """The fields of one line."""

    path: Path
    line: int
    """Counted from 1."""
    fields: list[str]
    """Without the blanks around them."""

    def numbers(self, columns: Sequence[int]) -> list[float]:
        """Read the coordinates in some columns.

        Raises
        ------
        AnnotationError
            If one is missing, no number or not finite.
        """
        if len(self.fields) <= max(columns):
            raise AnnotationError(
                f"{self.path}, line {self.line}: {len(self.fields)} fields where at least "
                f"{max(columns) + 1} separated by commas are needed"
            )
        return [self.number(column, "coordinate") for column in columns]

    def number(self, column: int, what: str, default: float | None = None) -> float:
        """Read one finite number; where the field is absent or blank, the default.

        Raises
        ------
        AnnotationError
            If it is none; the message calls it ``what``.
        """
        text = self.fields[column] if column < len(self.fields) else ""
        if default is not None and not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise AnnotationError(
                f"{self.path}, line {self.line}, field {column + 1}: {text!r} is no {what}"
            )
        return value

    def text(self, column: int) -> str:
        """Return a field, or nothing where there is none."""
        return self.fields[column] if column < len(self.fields) else ""


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text in UTF-8, with or without a byte order mark.

    Raises
    ------
    AnnotationError
        If the file cannot be read, or is no text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AnnotationError(f"cannot read {path}: {error.strerror or error}") from None
    if b"\0" in data[:4096]:
        raise AnnotationError(f"{path} is no text: is it an image, or of another kind?")
    text = data.decode("utf-8-sig", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def read_rows(path: Path, separators: str = ",") -> list[Row]:
    """Split every line that is no comment.

    Fields are separated by the first of ``separators`` that the first such line holds.
    """
    numbered = enumerate(read_lines(path), 1)
    lines = [(n, line) for n, line in numbered if line.strip() and line.lstrip()[0] != "#"]
    first = lines[0][1] if lines else ""
    between = next((s for s in separators if s in first), separators[0])
    return [Row(path, n, [word.strip() for word in line.split(between)]) for n, line in lines]


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a text whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
