"""A small annotated brain, and datasets made of it in a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroconn.annotation import Forest, concatenate, write_swc
from neuroconn.config import resolve
from neuroconn.config.crops import DatasetSettings
from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.phantom import Growth, Neurites, Phantom, PhantomSettings, grow
from neuroconn.training.dataset import dataset, layout
from neuroconn.volume import create_image, write_region
from neuroconn.volume.statistics import intensity_statistics, voxel_histogram

SHAPE = (32, 48, 112)
SPACING = (2.0, 1.0, 1.0)


def store_brain(
    path: Path,
    voxels: np.ndarray,
    *,
    spacing: tuple[float, float, float] = SPACING,
    statistics: bool = True,
) -> Path:
    counted = dict(intensity_statistics(voxel_histogram(voxels)))
    image = create_image(
        path,
        levels=plan_levels(voxels.shape),
        dtype=voxels.dtype,
        frame=Frame(spacing),
        chunk=16,
        shard=None,
        kind="brain",
        attributes={"intensity": counted} if statistics else {},
    )
    write_region(image.array(0), Box.of_shape(voxels.shape), voxels)
    return path


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    rng = np.random.default_rng(5)
    roots = rng.uniform(0.1, 0.9, (30, 3)) * SHAPE
    growth = Growth(length=200.0, persistence=20.0)
    bounds = Box.of_shape(SHAPE).grow(-5)
    forests = [grow(growth, rng, root=tuple(root), bounds=bounds) for root in roots]
    # Bright, and the nodes lie on the neurites to the voxel, so that a flip shows.
    bright = Neurites(brightness=3000.0, gaps=0.0, spread=0.0, soma=False)
    return Phantom(SHAPE, forests, PhantomSettings(tortuosity=0.0, neurites=bright), seed=3)


@pytest.fixture(scope="session")
def forest(phantom: Phantom) -> Forest:
    return concatenate(phantom.forests)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, phantom: Phantom, forest: Forest) -> Path:
    """A folder with ``brain.ome.zarr`` and its annotation, ``neurons.swc``, in voxels."""
    path = tmp_path_factory.mktemp("lab")
    store_brain(path / "brain.ome.zarr", phantom.image())
    write_swc(path / "neurons.swc", forest)
    return path


@pytest.fixture(scope="session")
def settings(lab: Path) -> Callable[..., DatasetSettings]:
    """Settings of a small dataset; keywords change them."""

    def make(**changes: Any) -> DatasetSettings:
        brain = {
            "brain": str(lab / "brain.ome.zarr"),
            "swc": [str(lab / "neurons.swc")],
            "units": "voxel",
        }
        plain = {"brains": [brain], "size": 16, "minimum_voxels": 8, "clip": 5.0}
        return resolve(
            DatasetSettings,
            plain,
            {"split": {"train": 0.6, "validation": 0.2, "test": 0.2}},
            changes,
        )

    return make


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> int:
    """Three crops of 16 voxels a shard."""
    monkeypatch.setattr(layout, "_SHARD_BYTES", 3 * 16**3 * 2)
    return 3


@pytest.fixture(scope="session")
def made(
    tmp_path_factory: pytest.TempPathFactory, settings: Callable[..., DatasetSettings]
) -> Path:
    """A finished dataset."""
    path = tmp_path_factory.mktemp("made") / "crops.zarr"
    dataset(settings(), path)
    return path
