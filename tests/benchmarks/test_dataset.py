"""How fast crops come from a dataset on disk, against the alternatives.

``pytest tests/benchmarks/test_dataset.py --benchmark-enable --benchmark-only -s`` prints crops a
second of one thread. The baseline is the plainest thing: one raw file for images and one for
distance maps, memory-mapped, of which a random part is copied; the files are in the page cache
for all. Without these flags each piece of work runs once, as a test of its result.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from neuroconn.annotation import concatenate, write_swc
from neuroconn.config import resolve
from neuroconn.config.crops import DatasetSettings
from neuroconn.config.train import TrainSettings
from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.phantom import Growth, Neurites, Phantom, PhantomSettings, grow
from neuroconn.training import Crop, Mixture
from neuroconn.training.dataset import dataset, open_dataset
from neuroconn.volume import create_image, write_region
from neuroconn.volume.statistics import intensity_statistics, voxel_histogram

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

Draw = Callable[[int], Any]


class Lab:
    """A brain, its dataset and the same crops as raw files; small unless benchmarks are on."""

    def __init__(self, path: Path, *, full: bool) -> None:
        self.size, self.crop = (128, 96) if full else (32, 16)
        self.path = path
        edge = 2 * self.size
        shape = (edge, edge, 2 * edge)
        rng = np.random.default_rng(0)
        growth = Growth(length=8.0 * edge, persistence=float(self.size), branching=0.01)
        inside = Box.of_shape(shape).grow(-4)
        forests = [
            grow(growth, rng, root=tuple(rng.uniform(0.2, 0.8, 3) * shape), bounds=inside)
            for _ in range(24)
        ]
        looks = PhantomSettings(tortuosity=0.0, neurites=Neurites(brightness=2500.0, gaps=0.0))
        voxels = Phantom(shape, forests, looks, seed=1).image()
        image = create_image(
            path / "brain.ome.zarr",
            levels=plan_levels(shape),
            dtype=voxels.dtype,
            frame=Frame((1.0, 1.0, 1.0)),
            chunk=64 if full else 16,
            shard=128 if full else 32,
            kind="brain",
            attributes={"intensity": dict(intensity_statistics(voxel_histogram(voxels)))},
        )
        write_region(image.array(0), Box.of_shape(shape), voxels)
        write_swc(path / "neurons.swc", concatenate(forests))
        self.brain = {"brain": str(path / "brain.ome.zarr"), "swc": [str(path / "neurons.swc")]}
        options = {
            "brains": [{**self.brain, "units": "voxel"}],
            "size": self.size,
            "minimum_voxels": 10,
            "split": {"validation": 0, "test": 0},
        }
        dataset(resolve(DatasetSettings, options), path / "crops.zarr")
        stored = open_dataset(path / "crops.zarr")
        self.maps = []
        for name, read in (("image", stored.image), ("distance", stored.distance)):
            held = np.stack([read(n) for n in range(len(stored))])
            held.tofile(path / name)
            self.maps.append(np.memmap(path / name, dtype=held.dtype, mode="r", shape=held.shape))

    def mixture(self, **source: Any) -> Mixture:
        plain = {
            "phantoms": {"weight": 0.0},
            "network": {"levels": 3},
            "crop": self.crop,
            "minimum_voxels": 1,
            "background": 0.0,
        }
        return Mixture(resolve(TrainSettings, plain, source))

    def mapped(self, number: int) -> tuple[Any, Any]:
        """Copy a random part of a crop from the raw files."""
        rng = np.random.default_rng([0, number])
        crop = rng.integers(len(self.maps[0]))
        z, y, x = (slice(a, a + self.crop) for a in rng.integers(0, self.size - self.crop + 1, 3))
        image, distance = (np.array(held[crop, z, y, x]) for held in self.maps)
        return image, distance


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Lab:
    full = request.config.getoption("benchmark_enable")
    return Lab(tmp_path_factory.mktemp("lab"), full=bool(full))


def measure(benchmark: BenchmarkFixture, draw: Draw, what: str) -> Any:
    """Draw 24 crops a round; print crops a second."""
    crops = 24 if benchmark.enabled else 1

    def work() -> Any:
        return [draw(number) for number in range(crops)][-1]

    last = benchmark.pedantic(work, rounds=5 if benchmark.enabled else 1, warmup_rounds=1)
    if benchmark.enabled:
        rate = crops / benchmark.stats.stats.median
        benchmark.extra_info["crops/s"] = round(rate, 1)
        print(f"\n{what}: {rate:.0f} crops a second, one thread")
    return last


def test_raw_files_in_memory(benchmark: BenchmarkFixture, lab: Lab) -> None:
    image, distance = measure(benchmark, lab.mapped, "memory-mapped raw files (baseline)")

    assert image.shape == distance.shape == (lab.crop,) * 3


def test_a_dataset(benchmark: BenchmarkFixture, lab: Lab) -> None:
    mixture = lab.mixture(datasets=[{"path": str(lab.path / "crops.zarr")}])

    crop = measure(benchmark, lambda n: mixture.crop(n)[0], "dataset")

    check(crop, lab)


def test_a_brain(benchmark: BenchmarkFixture, lab: Lab) -> None:
    mixture = lab.mixture(brains=[{**lab.brain, "held_out": 0.0}])

    crop = measure(benchmark, lambda n: mixture.crop(n)[0], "brain, rendered as needed")

    check(crop, lab)


def check(crop: Crop, lab: Lab) -> None:
    assert crop.image.shape == crop.distance.shape == (lab.crop,) * 3
    assert crop.distance.min() == 0
