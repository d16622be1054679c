"""Training from a dataset: parts of stored crops, numbered, read from disk."""

import json
import re
import shutil
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroconn.annotation import Forest, Graph, distance_block, graph_near
from neuroconn.config import resolve
from neuroconn.config.crops import DatasetSettings
from neuroconn.config.train import TrainSettings
from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.phantom import Phantom
from neuroconn.training import Crop, Mixture
from neuroconn.training.dataset import dataset
from neuroconn.training.dataset.reading import open_dataset

from .conftest import SPACING


def options(path: Path, **changes: Any) -> TrainSettings:
    plain = {
        "datasets": [{"path": str(path)}],
        "phantoms": {"weight": 0.0},
        "network": {"levels": 1},
        "crop": 12,
        "clip": 5.0,
        "minimum_voxels": 4,
        "spacing_um": SPACING,
    }
    return resolve(TrainSettings, plain, changes)


def box_of(crop: Crop) -> Box:
    """Where a crop says it comes from."""
    ends = [tuple(map(int, pair)) for pair in re.findall(r"[zyx] (\d+):(\d+)", crop.where)]
    return Box(*zip(*ends, strict=True))


def test_a_crop_is_the_part_of_the_brain_it_says_it_is(
    made: Path, phantom: Phantom, forest: Forest
) -> None:
    mixture = Mixture(options(made, clip=3.5), graphs=True)

    for number in range(20):
        crop = mixture.crop(number)[0]
        box = box_of(crop)
        np.testing.assert_array_equal(crop.image, phantom.image(box))
        np.testing.assert_array_equal(crop.distance, distance_block(forest, box, clip=3.5))
        near = graph_near(Graph.from_forest(forest), box, reach=3.5)
        assert crop.graph is not None
        np.testing.assert_allclose(crop.graph.positions, near.positions, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(crop.graph.edges, near.edges)
        assert "brain.ome.zarr" in crop.where


def test_a_crop_is_a_function_of_settings_and_number_from_any_thread(made: Path) -> None:
    mixture = Mixture(options(made))
    alone = [mixture.crop(number)[0] for number in range(12)]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda n: Mixture(options(made)).crop(n)[0], range(12)))

    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert one.where == other.where
    assert len({crop.where for crop in alone}) > 6


def test_crops_to_learn_from_and_to_validate_with_are_a_clip_apart(made: Path) -> None:
    mixtures = [Mixture(options(made, background=1.0), stream=stream) for stream in (0, 1, 2)]
    boxes = [[box_of(mixture.crop(n)[0]) for n in range(25)] for mixture in mixtures]

    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not any(a.grow(5).clip(b).size for a in boxes[one] for b in boxes[other])


def test_a_crop_holds_enough_neurite_unless_it_is_background(made: Path) -> None:
    mixture = Mixture(options(made, background=0.0, minimum_voxels=6))

    counts = [np.count_nonzero(mixture.crop(n)[0].distance == 0) for n in range(30)]

    assert np.mean(np.array(counts) >= 6) > 0.9


def test_without_a_loss_on_graphs_none_is_read(made: Path) -> None:
    assert Mixture(options(made)).crop(0)[0].graph is None


def test_a_dataset_that_does_not_serve_the_settings_is_refused(
    made: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UsageError, match=r"crops of 16 voxels, and crop is 18: set crop: 16"):
        Mixture(options(made, crop=18))
    with pytest.raises(UsageError, match=r"cut off at 5 voxels, and clip is 6.*--clip 6"):
        Mixture(options(made, clip=6.0))
    with pytest.raises(UsageError, match=r"set spacing_um: \[2.0, 1.0, 1.0\]"):
        Mixture(options(made, spacing_um=(2.5, 1.3, 1.3)))
    assert not caplog.records

    unsaid = resolve(
        TrainSettings,
        {
            k: v
            for k, v in options(made).model_dump(exclude_unset=True).items()
            if k != "spacing_um"
        },
    )
    Mixture(unsaid)
    assert "set spacing_um" in caplog.text


def test_a_split_without_crops_is_left_out_or_refused(
    settings: Callable[..., DatasetSettings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset(settings(split={"train": 1, "validation": 0, "test": 0}), tmp_path / "crops.zarr")

    with pytest.raises(UsageError, match="no source has crops for validation"):
        Mixture(options(tmp_path / "crops.zarr"), stream=1)
    mixed = options(tmp_path / "crops.zarr", phantoms={"weight": 1.0, "margin": 2})
    assert Mixture(mixed, stream=1).crop(0)[0].where.startswith("phantom seed")
    assert "left out" in caplog.text


def test_damage_is_found_when_it_is_read(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "crops.zarr"
    shutil.copytree(made, path)
    shard = path / "image" / "c" / "0" / "0" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 1
    shard.write_bytes(bytes(data))
    stored = open_dataset(path)

    with pytest.raises(VolumeError, match=r"image of row \d+ cannot be read"):
        [stored.image(number) for number in range(len(stored))]
    shard.unlink()
    with pytest.raises(VolumeError, match="missing or empty"):
        open_dataset(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 99}, "another version"),
        ({"kind": "brain"}, "not a dataset"),
        ({"complete": False}, "was not finished"),
    ],
)
def test_what_is_no_finished_dataset_is_refused(
    made: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = tmp_path / "crops.zarr"
    shutil.copytree(made, path)
    document = json.loads((path / "zarr.json").read_text())
    document["attributes"]["neuroconn"] |= change
    (path / "zarr.json").write_text(json.dumps(document))

    with pytest.raises(VolumeError, match=words):
        open_dataset(path)
    with pytest.raises(VolumeError, match="not a dataset"):
        open_dataset(tmp_path / "nothing")


def test_memory_does_not_grow_with_what_is_read(made: Path) -> None:
    mixture = Mixture(options(made))

    def peak(crops: int) -> int:
        tracemalloc.start()
        for number in range(crops):
            mixture.crop(number)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(5)
    assert peak(60) < 1.5 * peak(10) + 1e5
