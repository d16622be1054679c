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
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            if not config.is_file():
                raise OutputError(f"{path} is not empty and not a training folder: choose another")
            found = json.loads(config.read_text(encoding="utf-8"))
            differ = sorted(k for k in wanted if found.get(k) != wanted[k])
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
        except Exception as error:
            raise ModelError(
                f"checkpoint {path} cannot be read ({str(error).splitlines()[0]}): delete it to "
                "start again"
            ) from None
        self._trim(int(state["iteration"]))
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
        """Append a row to ``log.csv`` and ``log.jsonl``."""
        csv = self.path / _CSV
        head = "" if csv.is_file() else ",".join(row) + "\n"
        with csv.open("a", encoding="utf-8") as file:
            file.write(head + ",".join(f"{v:.6g}" for v in row.values()) + "\n")
        with (self.path / _JSONL).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _trim(self, iteration: int) -> None:
        """Drop log rows that a resumed run will write again."""
        jsonl, csv = self.path / _JSONL, self.path / _CSV
        if not jsonl.is_file():
            return
        lines = jsonl.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.endswith("}")]
        jsonl.unlink()
        csv.unlink(missing_ok=True)
        for row in rows:
            if row["iteration"] <= iteration:
                self.log(row)

    def _write(self, name: str, data: bytes) -> None:
        part = self.path / f".{name}.part"
        part.write_bytes(data)
        part.replace(self.path / name)
