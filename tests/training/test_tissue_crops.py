"""Crops of real tissue: what is known of them, and phantom light added to them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from pydantic import ValidationError

from neuroconn.config.train import AugmentSettings, TrainSettings
from neuroconn.errors import AnnotationError, VolumeError
from neuroconn.geometry import Box
from neuroconn.loss import l_conn
from neuroconn.loss.objective import OPEN, build_objective
from neuroconn.network import Normalisation
from neuroconn.phantom import Phantom, PhantomSettings, Tissue
from neuroconn.training.augment import augment
from neuroconn.training.crops import Mixture
from neuroconn.training.loader import batches
from neuroconn.training.loop import train
from neuroconn.training.shine import granularity, shine
from neuroconn.training.tissue_crops import TissueCrops

Tiny = Callable[..., TrainSettings]
RNG = np.random.default_rng
HALF_DIAGONAL = 3**0.5 / 2


@pytest.fixture
def labels(tmp_path: Path, phantom: Phantom) -> Path:
    """Plane 9 labelled as a person would."""
    distance = phantom.distance()
    label = np.zeros(phantom.shape, np.uint8)
    label[9] = np.where(distance[9] < 1.5, 2, np.where(distance[9] < 2.5, 4, 1))
    path = tmp_path / "label.tif"
    tifffile.imwrite(path, label)
    return path


def crops(tiny: Tiny, brain: Path, **source: Any) -> TissueCrops:
    settings = tiny(tissues=[{"brain": str(brain), **source}])
    return TissueCrops(settings.tissues[0], settings)


def test_a_brain_without_a_map_holds_no_neurite(tiny: Tiny, brain: Path) -> None:
    crop = crops(tiny, brain, light=0).crop(RNG(0), background=False)
    assert crop.bounds is not None
    assert crop.image.shape == (16, 16, 16)
    assert (crop.bounds.high == 10).all()
    assert set(np.unique(crop.bounds.low)) <= {0, 10}
    assert (crop.bounds.low == 10).any()
    assert crop.where.startswith(str(brain))


def test_light_comes_with_its_distance_and_only_adds(tiny: Tiny, brain: Path) -> None:
    unlit, source = crops(tiny, brain, light=0), crops(tiny, brain, light=1)
    shone = 0
    for seed in range(10):
        lit = source.crop(RNG(seed), background=False)
        dark = source.crop(RNG(seed), background=True)
        np.testing.assert_array_equal(dark.image, unlit.crop(RNG(seed), background=False).image)
        assert lit.bounds is not None
        near = lit.bounds.high < 1
        if near.any():
            shone += 1
            assert lit.image[near].mean() > dark.image[near].mean()
    assert shone >= 3


def test_a_crop_follows_from_its_number(tiny: Tiny, brain: Path) -> None:
    settings = tiny(tissues=[{"brain": str(brain), "weight": 3}])
    one, other = (Mixture(settings).crop(5)[0] for _ in range(2))
    np.testing.assert_array_equal(one.image, other.image)


def test_tissue_is_for_learning_alone(tiny: Tiny, brain: Path) -> None:
    settings = tiny(tissues=[{"brain": str(brain), "weight": 1e9}])
    assert "phantom" in Mixture(settings, stream=1).crop(0)[0].where
    assert "phantom" not in Mixture(settings).crop(0)[0].where


def test_every_crop_of_a_labelled_volume_meets_a_labelled_plane(
    tiny: Tiny, brain: Path, labels: Path
) -> None:
    source = crops(tiny, brain, labels={"path": str(labels), "planes": [9]}, light=0)
    heavy = 0
    for seed in range(20):
        bounds = source.crop(RNG(seed), background=False).bounds
        assert bounds is not None
        assert (bounds.weight.mean(axis=(1, 2)) > 1).sum() <= 1
        heavy += int((bounds.weight > 1).any())
        assert (bounds.low <= bounds.high).all()
    assert heavy > 15


def test_labels_bound_the_true_distance(
    tiny: Tiny, brain: Path, labels: Path, phantom: Phantom
) -> None:
    source = crops(tiny, brain, labels={"path": str(labels), "planes": [9]}, light=0)
    truth = phantom.distance()
    known = source._bounds
    assert (known.high[4:-4, 4:-4, 4:-4] >= truth - 1.5).mean() > 0.99


def test_nothing_is_known_outside_a_part(tiny: Tiny, brain: Path) -> None:
    source = crops(tiny, brain, part=[[4, 8, 16], [24, 40, 48]], light=0)
    assert (source._bounds.low[4:-4, 4:-4, 4:-4] == 10).all()
    assert source._bounds.low.sum() == 10 * 20 * 32 * 32


def test_faces_of_the_volume_are_seen_as_inference_sees_them(
    tiny: Tiny, brain: Path, phantom: Phantom
) -> None:
    source = crops(tiny, brain, part=[[0, 0, 0], [10, 40, 48]], light=0)
    image = phantom.image()
    expected = np.pad(image, [(4, 4)] * 3, mode="reflect")[: 10 + 8]
    np.testing.assert_array_equal(source._image, expected)
    assert (source._bounds.low[4:-4, 4:-4, 4:-4] == 10).all()
    assert (source._bounds.low[:4] == 0).all()
    assert (source._bounds.high[:4] == 10).all()


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ({"part": [[0, 0, 0], [99, 40, 48]]}, VolumeError, "leaves them"),
        ({"labels": {"planes": [3]}}, AnnotationError, "plane 3 holds no label"),
        ({"labels": {"planes": [77]}}, AnnotationError, "plane 77 lies outside"),
    ],
)
def test_bad_input_is_named(
    tiny: Tiny,
    brain: Path,
    labels: Path,
    source: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    if "labels" in source:
        source = {"labels": {"path": str(labels), **source["labels"]}}
    with pytest.raises(error, match=words):
        crops(tiny, brain, **source)


def test_an_upside_down_part_is_refused(tiny: Tiny, brain: Path) -> None:
    with pytest.raises(Exception, match="one behind the last"):
        crops(tiny, brain, part=[[9, 0, 0], [4, 40, 48]])


def test_what_is_open_in_places_needs_a_loss_of_voxels(tiny: Tiny, brain: Path) -> None:
    base = tiny(tissues=[{"brain": str(brain)}]).model_dump()
    with pytest.raises(ValidationError, match="add mse or huber"):
        TrainSettings.model_validate({**base, "loss": {"l_conn": {}}})


def test_connectivity_is_learnt_from_whole_crops_beside_open_ones(
    tiny: Tiny, brain: Path, tmp_path: Path
) -> None:
    settings = tiny(
        tissues=[{"brain": str(brain), "weight": 1.0}],
        augment={"mirror": 0.5},
        loss={"mse": {}, "l_conn": {"options": {"window": 16}}},
        batch=4,
    )
    objective = build_objective(settings.loss, clip=10, crop=(16, 16, 16))
    made = batches(Mixture(settings), settings, first=0, last=9, prepare=objective.prepare)
    batch, judged = next(
        (batch, judged)
        for batch in made
        if 0 < sum(judged := [parts[1] is not OPEN for parts in batch.prepared]) < 4
    )
    prediction = torch.full_like(batch.distances, 5.0, requires_grad=True)

    values = objective(prediction, batch.distances, batch.prepared, iteration=0)[1]
    alone = l_conn(prediction[judged], batch.distances[judged], window=16, centreline=HALF_DIAGONAL)

    torch.testing.assert_close(values["l_conn"], alone.detach())
    report = train(settings.model_copy(update={"iterations": 3}), tmp_path / "run", device="cpu")
    assert report.iterations == 3


def test_mirrored_faces_are_left_open_and_bounds_move_with_the_image(
    tiny: Tiny, brain: Path
) -> None:
    crop = crops(tiny, brain, light=1).crop(RNG(3), background=False)
    settings = AugmentSettings(mirror=1.0, noise=0, offset=0, gain=1)
    sample = augment(crop, settings, Normalisation(softening=3, scale=1), RNG(1))
    assert sample.bounds is not None
    left_open = (sample.bounds.low == 0) & (sample.bounds.high == 10)
    assert left_open.any()
    assert not left_open.all()
    np.testing.assert_array_equal(sample.distance, sample.bounds.low)


def test_granularity_tells_noise_from_texture() -> None:
    rng = RNG(0)
    noise = rng.normal(0, 5, (48, 48, 48)).astype(np.float32)
    wave = 50 * np.sin(np.arange(48) / 4).astype(np.float32)
    fine, white = granularity(1000 + noise + wave[:, None, None])
    assert white == pytest.approx(5, rel=0.05)
    assert fine > 1.5 * white


def test_dark_phantoms_change_nothing() -> None:
    tissue = Tissue(cells=0, puncta=0)
    phantom = Phantom((24, 24, 24), [], PhantomSettings(tissue=tissue), seed=3)
    image = RNG(0).normal(500, 20, (16, 16, 16)).astype(np.float32)
    box = Box((4, 4, 4), (20, 20, 20))
    np.testing.assert_array_equal(shine(image, phantom, box, dark=100, rng=RNG(1)), image)
