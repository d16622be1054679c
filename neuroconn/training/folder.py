"""The folder of a training run: settings, checkpoint, logs, model."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neuroconn.config.train import TrainSettings
from neuroconn.errors import ModelError, OutputError

_CONFIG, _CHECKPOINT, _CSV, _JSONL = "config.json", "checkpoint.pt", "log.csv", "log.jsonl"


@dataclass(frozen=True)
class TrainingFolder:
    """Files of one run; every one is written whole or appended by the line."""

    path: Path

    @classmethod
    def open(cls, path: Path, settings: TrainSettings, *, resume: bool) -> TrainingFolder:
        """Create the folder, or take up the one that is there.

        Raises
        ------
        OutputError
            If the path holds anything but a run with the same settings.
        """
        wanted = settings.model_dump(mode="json")
        config = path / _CONFIG
        if path.exists() and not _is_empty(path):
            if not config.is_file():
                raise OutputError(f"{path} is not empty and not a training folder: choose another")
            found = _settings_in(config)
            differ = sorted(k for k in {*wanted, *found} if found.get(k) != wanted.get(k))
            if differ:
                raise OutputError(
                    f"{path} holds a run with another {', '.join(differ)}: choose another folder, "
                    "or repeat the settings to resume it"
                )
            if not resume:
                raise OutputError(f"{path} holds a run already: resume it, or choose another")
        path.mkdir(parents=True, exist_ok=True)
        folder = cls(path)
        if not config.is_file():
            folder._write(_CONFIG, json.dumps(wanted, indent=2).encode())
        return folder

    @property
    def model(self) -> Path:
        """Folder of weights and card."""
        return self.path / "model"

    def checkpoint(self) -> dict[str, Any] | None:
        """State of the last checkpoint, or None; also cuts the logs back to it.

        Raises
        ------
        ModelError
            If the file is damaged. It is never unpickled: tensors and plain values only.
        """
        path = self.path / _CHECKPOINT
        if not path.is_file():
            self._trim(0)
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            iteration = int(state["iteration"])
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ModelError(
                f"checkpoint {path} cannot be read ({reason}): delete it to start again"
            ) from None
        self._trim(iteration)
        return state

    def save(self, state: dict[str, object]) -> None:
        """Replace the checkpoint; the old one stays until the new one is on disk."""
        part = self.path / f".{_CHECKPOINT}.part"
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path / _CHECKPOINT)

    def log(self, row: dict[str, float]) -> None:
        """Append a row to ``log.jsonl`` and ``log.csv``."""
        with (self.path / _JSONL).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        csv = self.path / _CSV
        head = "" if csv.is_file() else ",".join(row) + "\n"
        with csv.open("a", encoding="utf-8") as file:
            file.write(head + _csv_line(row))

    def _trim(self, iteration: int) -> None:
        """Drop log rows that a resumed run will write again, and a last line that was cut off."""
        jsonl = self.path / _JSONL
        if not jsonl.is_file():
            return
        lines = jsonl.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.endswith("}")]
        rows = [row for row in rows if row["iteration"] <= iteration]
        self._write(_JSONL, "".join(json.dumps(row) + "\n" for row in rows).encode())
        if rows:
            text = ",".join(rows[0]) + "\n" + "".join(map(_csv_line, rows))
            self._write(_CSV, text.encode())
        else:
            (self.path / _CSV).unlink(missing_ok=True)

    def _write(self, name: str, data: bytes) -> None:
        part = self.path / f".{name}.part"
        part.write_bytes(data)
        part.replace(self.path / name)


def _is_empty(path: Path) -> bool:
    """Whether the folder holds nothing but, at most, settings that were never finished."""
    return path.is_dir() and all(p.name == f".{_CONFIG}.part" for p in path.iterdir())


def _settings_in(config: Path) -> dict[str, Any]:
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{config} cannot be read ({error}): choose another folder") from None
    return dict(found) if isinstance(found, dict) else {}


def _csv_line(row: dict[str, float]) -> str:
    return ",".join(f"{value:.6g}" for value in row.values()) + "\n"
