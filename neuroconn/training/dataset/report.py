"""What a build made, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuroconn.training.crop import SPLITS
from neuroconn.training.dataset.plan import Cubes, Plan


@dataclass(frozen=True)
class BrainRow:
    """One brain of a dataset."""

    name: str
    """Name of its folder."""
    cubes: int
    """Cubes of the grid."""
    with_neurite: int
    """Those a neurite passes through."""
    kept: int
    """Those with enough of it."""
    background: int
    """Crops with less, taken all the same."""
    crops: dict[str, int]
    """Crops of each split."""
    neurite_voxels: int
    """In its crops."""


@dataclass(frozen=True)
class DatasetReport:
    """What a dataset holds."""

    path: Path
    """Where it is."""
    size: int
    """Edge of a crop, in voxels."""
    minimum_voxels: int
    """Neurite voxels a crop needs."""
    brains: tuple[BrainRow, ...]
    """One row a brain."""

    @property
    def crops(self) -> int:
        """Crops in all."""
        return sum(sum(brain.crops.values()) for brain in self.brains)

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {**asdict(self), "path": str(self.path), "crops": self.crops}

    def __str__(self) -> str:
        head = ["cubes", "neurite", "kept", "background", *SPLITS, "neurite voxels"]
        rows = [
            [
                brain.cubes,
                brain.with_neurite,
                brain.kept,
                brain.background,
                *(brain.crops[split] for split in SPLITS),
                brain.neurite_voxels,
            ]
            for brain in self.brains
        ]
        names = [brain.name for brain in self.brains]
        if len(rows) > 1:
            names.append("all")
            rows.append([sum(column) for column in zip(*rows, strict=True)])
        cells = [["brain", *head]]
        cells += [
            [name, *(f"{value:,}" for value in row)] for name, row in zip(names, rows, strict=True)
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if k else cell.ljust(width)
                for k, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in cells
        )


def report_of(
    path: Path, cubes: Sequence[Cubes], plan: Plan, provenance: Mapping[str, Any]
) -> DatasetReport:
    """Count what a plan holds."""
    rows = []
    for number, (found, brain) in enumerate(zip(cubes, provenance["brains"], strict=True)):
        mine = plan.brain == number
        rows.append(
            BrainRow(
                name=brain["name"],
                cubes=found.total,
                with_neurite=int((found.voxels > 0).sum()),
                kept=found.kept,
                background=int((found.chosen & (found.voxels < found.minimum)).sum()),
                crops={
                    name: int(np.count_nonzero(plan.splits[mine] == k))
                    for k, name in enumerate(SPLITS)
                },
                neurite_voxels=int(plan.voxels[mine].sum()),
            )
        )
    settings = provenance["settings"]
    return DatasetReport(path, settings["size"], settings["minimum_voxels"], tuple(rows))
