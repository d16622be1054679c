"""A brain as the converter makes it, ways to harm it, and runs to compare."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from fakes import SEED, SETTINGS, fake_predictor, fibre, save_card, stored_bytes
from numpy.typing import NDArray

from neuroconn.geometry import ZYX, Box
from neuroconn.inference.journal.journal import Journal, Record
from neuroconn.inference.report import InferReport
from neuroconn.inference.run import infer
from neuroconn.volume.converter import convert
from neuroconn.volume.store import Image, open_image

SHARD = 32
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
"""For scripts of this folder, which import ``fakes`` too."""
AROUND: dict[str, Any] = {"seeds": (), "seed_source": "all", "box": (0, 16, 0, 48, 64, 48)}
"""A dense run over 27 chunks: those around the beginning of the fibre."""


class Lab:
    """A folder with a brain, a model, and outputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.brain = folder / "brain.ome.zarr"
        if not (folder / "model").exists():
            save_card(folder / "model")

    def convert(self, volume: NDArray[Any] | None = None, **options: Any) -> Image:
        """Make the brain with our converter, records and all; of shards of 32 voxels."""
        source = self.folder / "source.tif"
        tifffile.imwrite(source, fibre() if volume is None else volume)
        usual: dict[str, Any] = {"chunk": 16, "shard": SHARD, "smallest": 48, "threads": 1}
        convert(source, self.brain, spacing=(2.0, 1.0, 1.0), **{**usual, **options})
        return open_image(self.brain)

    def run(self, name: str = "out", **changes: Any) -> InferReport:
        """Walk the brain into the output ``name``."""
        settings = SETTINGS.model_copy(update=changes.pop("settings", {}))
        usual: dict[str, Any] = {"seeds": [SEED], "scheduler": "sync"}
        return infer(
            self.brain,
            self.output(name),
            model=self.folder / "model",
            settings=settings,
            predictor=fake_predictor,
            **{**usual, **changes},
        )

    def output(self, name: str = "out") -> Path:
        """Path of an output; all have the same file name, which is stored in them."""
        return self.folder / name / "map.ome.zarr"

    def bytes(self, name: str = "out") -> dict[str, bytes]:
        """Every stored file of an output, less those of the run folder."""
        return stored_bytes(self.output(name))

    def voxels(self, name: str = "out") -> dict[str, bytes]:
        """The stored objects of level 0 of an output, without metadata."""
        return {k: v for k, v in self.bytes(name).items() if k.startswith("0/c/")}

    def records(self, name: str = "out") -> dict[ZYX, Record]:
        """The journal of an output."""
        return {r.index: r for r in Journal.read(self.output(name) / "run").records()}

    def chunks(self, status: str, name: str = "out") -> set[ZYX]:
        """Chunks that the journal of an output says are so."""
        return {i for i, r in self.records(name).items() if r.status == status}


def flip(file: Path, at: int = 30) -> None:
    """Flip one bit of a file."""
    data = bytearray(file.read_bytes())
    data[at] ^= 16
    file.write_bytes(data)


def cut(file: Path) -> None:
    """Lose the end of a file."""
    file.write_bytes(file.read_bytes()[:-9])


def empty(file: Path) -> None:
    """Leave nothing in a file."""
    file.write_bytes(b"")


HARMS = (flip, cut, empty, Path.unlink)
"""Everything that is done to stored objects."""


def needing(box: Box) -> set[ZYX]:
    """Chunks whose tile shares a voxel with a box."""
    from fakes import grid_of

    grid = grid_of()
    tiles = {index: grid.tile(index, SETTINGS.halo).clip(grid.bounds) for index in grid}
    return {index for index, tile in tiles.items() if tile.clip(box).size}


def blank(volume: NDArray[Any], box: Box) -> NDArray[Any]:
    """A copy of a volume with nothing in a box."""
    copy = np.array(volume)
    copy[box.slices] = 0
    return copy
