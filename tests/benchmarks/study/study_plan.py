"""What a study compares: networks x losses x seeds, at one budget, on one set of phantoms.

Every run of a network and a seed starts with the same iterations of the first loss (the trunk),
trained once; each loss then goes on from there with a fresh optimiser (the branch). That is the
published warm-up of the connectivity losses, and gives each loss the same iterations in all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from neuroconn.config import Settings, resolve
from neuroconn.config.base import read_settings
from neuroconn.config.train import TrainSettings


class HeldOut(Settings):
    """Phantoms that judge, from seeds that training never draws."""

    phantoms: int = Field(12, ge=1)
    """How many."""
    shape: tuple[int, int, int] = (128, 128, 128)
    """Voxels of each, (z, y, x)."""
    margin: int = Field(16, ge=0)
    """Voxels at each face that are seen but not scored."""
    first_seed: int = 10**9
    """Seed of the first one."""
    tuning: int = Field(3, ge=1)
    """Phantoms of other seeds, on which each run's own threshold is chosen."""
    first_tuning_seed: int = 9 * 10**8
    """Seed of the first of those."""
    thresholds: tuple[float, ...] = (3.0, 4.0, 5.0, 6.0, 7.0)
    """Distances among which it is chosen, by quality."""
    variety: dict[str, Any] = Field(default_factory=dict)
    """What differs from the training's phantoms."""


class StudySettings(Settings):
    """A file of ``configs/experiments``."""

    title: str
    """What the study asks."""
    base: dict[str, Any]
    """Training settings of every run."""
    trunk: dict[str, Any]
    """What the first stage changes."""
    branch: dict[str, Any]
    """What the second stage changes."""
    networks: dict[str, dict[str, Any]]
    """Name to what the network changes."""
    losses: dict[str, dict[str, Any]]
    """Name to what the loss changes; the first one is the baseline, and trains the trunk."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run each."""
    test: HeldOut = HeldOut()
    """What judges."""


@dataclass(frozen=True)
class Cell:
    """One run."""

    network: str
    loss: str
    seed: int
    stage: str
    """``trunk`` or ``branch``."""

    @property
    def name(self) -> str:
        """Name of its folder."""
        what = "trunk" if self.stage == "trunk" else self.loss
        return f"{self.network}-{what}-{self.seed}"


def read_study(path: Path, *assignments: str) -> StudySettings:
    """Read a study, and check the settings of every run of it."""
    study = read_settings(StudySettings, path, *assignments)
    for cell in cells(study):
        train_settings(study, cell)
    return study


def cells(study: StudySettings) -> Iterator[Cell]:
    """Yield every run; seeds outermost, so that a stopped study has whole comparisons."""
    baseline = next(iter(study.losses))
    for seed in study.seeds:
        for network in study.networks:
            yield Cell(network, baseline, seed, "trunk")
            for loss in study.losses:
                yield Cell(network, loss, seed, "branch")


def overrides(study: StudySettings, cell: Cell, folder: Path | None = None) -> list[dict[str, Any]]:
    """Return the layers of a run's settings, the strongest last."""
    stage = study.trunk if cell.stage == "trunk" else study.branch
    own: dict[str, Any] = {"name": cell.name, "seed": cell.seed + (cell.stage == "branch") * 1000}
    if cell.stage == "branch" and folder is not None:
        trunk = Cell(cell.network, cell.loss, cell.seed, "trunk")
        own["initial"] = str(folder / trunk.name / "model")
    return [study.base, study.networks[cell.network], stage, study.losses[cell.loss], own]


def train_settings(study: StudySettings, cell: Cell, folder: Path | None = None) -> TrainSettings:
    """Return the settings of a run."""
    return resolve(TrainSettings, *overrides(study, cell, folder))
