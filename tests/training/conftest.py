"""Trainings that take a second."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroconn.annotation import Forest, write_swc
from neuroconn.config import resolve
from neuroconn.config.train import TrainSettings
from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.phantom import Growth, Phantom, grow
from neuroconn.volume import create_image, write_region
from neuroconn.volume.statistics import intensity_statistics, voxel_histogram

sys.path.insert(0, str(Path(__file__).parent))  # for runs.py

TINY: dict[str, Any] = {
    "name": "tiny",
    "network": {"levels": 1, "width": 2, "convolutions": 1, "dropout": 0.2},
    "crop": 16,
    "batch": 2,
    "iterations": 7,
    "minimum_voxels": 1,
    "phantoms": {"margin": 4, "variety": {"empty": 0.0, "axons": 40.0}},
    "validate_every": 3,
    "validation_crops": 1,
    "checkpoint_every": 2,
    "volumes": {"phantoms": 1, "edge": 20, "core": 8, "halo": 4},
    "pictures_every": 0,
    "tensorboard": False,
    "precision": "fp32",
}


@pytest.fixture(scope="session")
def tiny() -> Callable[..., TrainSettings]:
    """Settings of a tiny run; keywords change them."""

    def make(**changes: Any) -> TrainSettings:
        return resolve(TrainSettings, TINY, changes)

    return make


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    shape = (24, 40, 48)
    rng = np.random.default_rng(4)
    forest = grow(
        Growth(length=400.0), rng, root=(12.0, 20.0, 24.0), bounds=Box.of_shape(shape).grow(-3)
    )
    return Phantom(shape, [forest], seed=2)


@pytest.fixture(scope="session")
def annotation(tmp_path_factory: pytest.TempPathFactory, phantom: Phantom) -> Path:
    path = tmp_path_factory.mktemp("annotation") / "neuron.swc"
    write_swc(path, phantom.forests[0])
    return path


@pytest.fixture(scope="session")
def brain(tmp_path_factory: pytest.TempPathFactory, phantom: Phantom) -> Path:
    path = tmp_path_factory.mktemp("brain") / "brain.ome.zarr"
    voxels = phantom.image()
    image = create_image(
        path,
        levels=plan_levels(phantom.shape),
        dtype=voxels.dtype,
        frame=Frame((2.5, 1.3, 1.3)),
        chunk=16,
        shard=16,
        kind="brain",
        attributes={"intensity": dict(intensity_statistics(voxel_histogram(voxels)))},
    )
    array = image.array(0)
    for core in Box.of_shape(phantom.shape).split((16, 16, 16)):
        write_region(array, core, voxels[core.slices])
    return path


@pytest.fixture
def forest() -> Forest:
    return grow(Growth(length=120.0), np.random.default_rng(0), root=(8.0, 8.0, 8.0))


@pytest.fixture(scope="session")
def whole(tiny: Callable[..., TrainSettings], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    from runs import run

    folder = tmp_path_factory.mktemp("whole") / "run"
    run(tiny(optimiser={"average": 0.9}), folder)
    return folder
