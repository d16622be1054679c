"""Runs of a second, and what they leave behind."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neuroconn.config.train import TrainSettings
from neuroconn.training import TrainReport, train

Settings = Callable[..., TrainSettings]
CLOCK = {"seconds", "crops_per_second"}


class KilledError(Exception):
    """The machine went away."""


def kill_at(iteration: int) -> Callable[[int, int, dict[str, float]], None]:
    def progress(done: int, iterations: int, row: dict[str, float]) -> None:
        if done >= iteration:
            raise KilledError

    return progress


def run(settings: TrainSettings, output: Path, **options: Any) -> TrainReport:
    return train(settings, output, device="cpu", threads=1, **options)


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()


def rows(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in CLOCK} for line in lines]


def csv(folder: Path) -> list[list[str]]:
    lines = [line.split(",") for line in (folder / "log.csv").read_text().splitlines()]
    kept = [n for n, name in enumerate(lines[0]) if name not in CLOCK]
    return [[line[n] for n in kept] for line in lines]
