"""The folder of a training run: settings, checkpoint, logs, model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neuroconn.config.train import TrainSettings
from neuroconn.errors import ModelError, OutputError
from neuroconn.training.identity import check_same_run
from neuroconn.training.logs import Logs, Row, write_whole
from neuroconn.vaa3d.files import storage_errors

_CONFIG, _CHECKPOINT = "config.json", "checkpoint.pt"


@dataclass(frozen=True, slots=True)
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
        StorageError
            If the disk is full.
        """
        folder = cls(path)
        config = path / _CONFIG
        if path.exists() and not _is_empty(path):
            if not config.is_file():
                raise OutputError(f"{path} is not empty and not a training folder: choose another")
            check_same_run(_settings_in(config), settings, str(path))
            if not resume:
                raise OutputError(f"{path} holds a run already: resume it, or choose another")
        with storage_errors(config):
            path.mkdir(parents=True, exist_ok=True)
            text = json.dumps(settings.model_dump(mode="json"), indent=2)
            write_whole(config, text.encode())
        return folder

    @property
    def model(self) -> Path:
        """Folder of weights and card, written at the end."""
        return self.path / "model"

    @property
    def best(self) -> Path:
        """Folder of the best weights so far."""
        return self.path / "best"

    @property
    def pictures(self) -> Path:
        """Folder of pictures of held-out crops."""
        return self.path / "pictures"

    @property
    def logs(self) -> Logs:
        """CSV and JSON lines."""
        return Logs(self.path)

    def checkpoint(self) -> dict[str, Any] | None:
        """State of the last checkpoint, or None if there is none.

        Raises
        ------
        ModelError
            If the file is damaged. It is never unpickled: tensors and plain values only.
        """
        path = self.path / _CHECKPOINT
        if not path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            state["iteration"] = int(state["iteration"])
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ModelError(
                f"checkpoint {path} cannot be read ({reason}): delete it to start again"
            ) from None
        return state

    def save(self, state: Mapping[str, object]) -> None:
        """Replace the checkpoint; the old one stays until the new one is on disk.

        Raises
        ------
        StorageError
            If the disk is full; the old checkpoint is still there, and nothing else.
        """
        final = self.path / _CHECKPOINT
        part = self.path / f".{_CHECKPOINT}.part"
        try:
            with storage_errors(final):
                _write_state(part, state)
                part.replace(final)
        finally:
            part.unlink(missing_ok=True)

    def log(self, row: Row) -> None:
        """Append a row to ``log.jsonl`` and ``log.csv``."""
        self.logs.append(row)


def _write_state(path: Path, state: Mapping[str, object]) -> None:
    with path.open("wb") as file:
        watched = _Watched(file)
        try:
            torch.save(dict(state), watched)  # type: ignore[arg-type]  # it writes and flushes
        except RuntimeError as error:
            # The archive's writer says of a full disk only that the number of bytes is wrong.
            raise (watched.error or error) from None
        file.flush()
        os.fsync(file.fileno())


class _Watched:
    """A file that remembers the error of the system."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            written: int = self._file.write(data)
        except OSError as error:
            self.error = error
            raise
        return written

    def flush(self) -> None:
        self._file.flush()


def _is_empty(path: Path) -> bool:
    """Whether the folder holds nothing but, at most, settings that were never finished."""
    return path.is_dir() and all(p.name == f".{_CONFIG}.part" for p in path.iterdir())


def _settings_in(config: Path) -> dict[str, Any]:
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{config} cannot be read ({error}): choose another folder") from None
    return dict(found) if isinstance(found, dict) else {}
