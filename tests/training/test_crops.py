"""Where crops come from: phantoms and brains, numbered."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroconn.annotation import distance_block, render
from neuroconn.config.train import TrainSettings
from neuroconn.errors import AnnotationError, ConfigError, VolumeError
from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.phantom import Phantom
from neuroconn.training import Crop, Mixture, crops
from neuroconn.training.crops import BrainCrops, PhantomCrops, summary
from neuroconn.volume import create_image, open_image

Settings = Callable[..., TrainSettings]


def same(one: Crop, other: Crop) -> bool:
    return np.array_equal(one.image, other.image) and np.array_equal(one.distance, other.distance)


def of_brain(tiny: Settings, brain: Path, annotation: Path, **changes: Any) -> TrainSettings:
    source = {"brain": str(brain), "swc": [str(annotation)]}
    return tiny(**{"brains": [source], "phantoms": {"weight": 0.0}, **changes})


def test_a_crop_is_a_function_of_settings_and_number(tiny: Settings) -> None:
    one, other = Mixture(tiny()), Mixture(tiny())

    forwards = [one.crop(n)[0] for n in range(4)]
    backwards = [other.crop(n)[0] for n in reversed(range(4))][::-1]

    assert all(map(same, forwards, backwards))
    assert not same(forwards[0], forwards[1])


def test_the_generator_goes_on_from_the_crop(tiny: Settings) -> None:
    mixture = Mixture(tiny())

    draws = [mixture.crop(n)[1].random() for n in (0, 1, 0)]

    assert draws[0] == draws[2] != draws[1]


def test_another_seed_or_stream_gives_other_crops(tiny: Settings) -> None:
    crop = Mixture(tiny()).crop(0)[0]

    assert not same(Mixture(tiny(seed=1)).crop(0)[0], crop)
    assert not same(Mixture(tiny(), stream=1).crop(0)[0], crop)


def test_a_crop_of_a_phantom_has_its_size_its_clip_and_its_own_statistics(tiny: Settings) -> None:
    crop, _ = Mixture(tiny(clip=6.0)).crop(0)

    assert crop.image.shape == crop.distance.shape == (16, 16, 16)
    assert (crop.image.dtype, crop.distance.dtype) == (np.uint16, np.float32)
    assert crop.distance.max() <= 6
    assert crop.statistics["percentiles"]["50"] == np.median(crop.image)


class Counted:
    """A phantom with so many centreline voxels, counting how often one is asked for."""

    made = 0

    def __init__(self, voxels: int) -> None:
        self.voxels = voxels

    def __call__(self, shape: object, **options: object) -> "Counted":
        self.made += 1
        return self

    def distance(self, box: Box, *, clip: float) -> np.ndarray:
        distance = np.full(box.size, clip, np.float32)
        distance[: self.voxels] = np.sqrt(3) / 2
        return distance.reshape(box.shape)

    def image(self, box: Box) -> np.ndarray:
        return np.ones(box.shape, np.uint16)


@pytest.mark.parametrize(("voxels", "tries"), [(100, 1), (101, 1), (99, 12), (0, 12)])
def test_a_hundred_voxels_of_neurite_are_enough_in_a_phantom(
    tiny: Settings, monkeypatch: pytest.MonkeyPatch, voxels: int, tries: int
) -> None:
    phantom = Counted(voxels)
    monkeypatch.setattr(crops, "random_phantom", phantom)
    settings = tiny(minimum_voxels=100)
    source = PhantomCrops(settings.phantoms, settings)

    source.crop(np.random.default_rng(0), background=False)
    assert phantom.made == tries

    source.crop(np.random.default_rng(0), background=True)
    assert phantom.made == tries + 1


@pytest.mark.parametrize(("voxels", "tries"), [(100, 1), (99, 12)])
def test_a_hundred_voxels_of_neurite_are_enough_in_a_brain(
    tiny: Settings,
    brain: Path,
    annotation: Path,
    monkeypatch: pytest.MonkeyPatch,
    voxels: int,
    tries: int,
) -> None:
    boxes: list[Box] = []

    def rendered(forest: object, box: Box) -> np.ndarray:
        boxes.append(box)
        return np.arange(box.size).reshape(box.shape) < voxels

    monkeypatch.setattr(crops, "render", rendered)
    settings = of_brain(tiny, brain, annotation, minimum_voxels=100)

    BrainCrops(settings.brains[0], settings).crop(np.random.default_rng(0), background=False)

    assert len(boxes) == tries


def test_a_crop_of_a_brain_is_cut_from_it(
    tiny: Settings, brain: Path, annotation: Path, phantom: Phantom
) -> None:
    settings = of_brain(tiny, brain, annotation, minimum_voxels=10)
    source = BrainCrops(settings.brains[0], settings)
    whole = phantom.image()

    for seed in range(6):
        crop = source.crop(np.random.default_rng(seed), background=False)

        box = located(crop.image, whole)
        forest = phantom.forests[0]
        np.testing.assert_allclose(crop.distance, distance_block(forest, box, clip=10.0), atol=1e-3)
        assert np.count_nonzero(render(forest, box)) >= 10
        assert (
            crop.statistics["percentiles"]
            == open_image(brain).attributes["intensity"]["percentiles"]
        )


def test_an_annotation_with_y_flipped_is_reported_before_training(
    tiny: Settings, brain: Path, annotation: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    right = of_brain(tiny, brain, annotation)
    BrainCrops(right.brains[0], right)
    assert "median intensity percentile" in caplog.text
    assert not [r for r in caplog.records if r.levelname == "WARNING"]

    source = {"brain": str(brain), "swc": [str(annotation)], "y_flip": True}
    wrong = tiny(brains=[source], phantoms={"weight": 0.0})
    BrainCrops(wrong.brains[0], wrong)

    warned = next(r for r in caplog.records if r.levelname == "WARNING")
    assert "flip" in warned.getMessage()


def located(part: np.ndarray, whole: np.ndarray) -> Box:
    """Where a crop was cut."""
    windows = np.lib.stride_tricks.sliding_window_view(whole, part.shape)
    corners = np.argwhere((windows[..., 0, 0, :4] == part[0, 0, :4]).all(axis=-1))
    for z, y, x in corners.tolist():
        if np.array_equal(windows[z, y, x], part):
            return Box((z, y, x), (z + part.shape[0], y + part.shape[1], x + part.shape[2]))
    raise AssertionError("the crop is not a part of the brain")


def test_background_crops_come_from_anywhere(
    tiny: Settings, brain: Path, annotation: Path, phantom: Phantom
) -> None:
    settings = of_brain(tiny, brain, annotation, minimum_voxels=10**6)
    source = BrainCrops(settings.brains[0], settings)

    corners = {
        located(source.crop(np.random.default_rng(s), background=True).image, phantom.image()).start
        for s in range(12)
    }

    assert len(corners) > 8
    assert np.ptp([c[0] for c in corners]) >= 5


def test_a_crop_larger_than_the_brain_is_filled_by_reflection(
    tiny: Settings, brain: Path, annotation: Path, phantom: Phantom
) -> None:
    settings = of_brain(tiny, brain, annotation, crop=32)
    source = BrainCrops(settings.brains[0], settings)

    crop = source.crop(np.random.default_rng(0), background=True)

    assert crop.image.shape == (32, 32, 32)
    whole = np.pad(phantom.image(), ((0, 8), (0, 0), (0, 0)), mode="reflect")
    located(crop.image, whole)


def test_sources_take_turns_by_their_weights(tiny: Settings, brain: Path, annotation: Path) -> None:
    source = {"brain": str(brain), "swc": [str(annotation)], "weight": 3.0}
    mixture = Mixture(tiny(brains=[source]))
    brains = [number for number in range(60) if "voxels" in mixture.crop(number)[0].statistics]

    assert len(brains) == pytest.approx(45, abs=10)


def test_the_share_of_background_is_respected(
    tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def crop(self: PhantomCrops, rng: object, *, background: bool) -> None:
        asked.append(background)

    monkeypatch.setattr(PhantomCrops, "crop", crop)
    mixture = Mixture(tiny(background=0.3))

    for number in range(300):
        mixture.crop(number)

    assert np.mean(asked) == pytest.approx(0.3, abs=0.08)


def test_a_misspelt_variety_is_a_setting_that_is_wrong(tiny: Settings) -> None:
    with pytest.raises(ConfigError, match=r"phantoms\.variety: unknown key 'axon'"):
        Mixture(tiny(phantoms={"variety": {"axon": 3}}))


def test_a_brain_without_statistics_is_refused(
    tiny: Settings, brain: Path, annotation: Path, tmp_path: Path
) -> None:
    import shutil

    bare = tmp_path / "bare.ome.zarr"
    shutil.copytree(brain, bare)
    open_image(bare).update_attributes({"intensity": None})

    with pytest.raises(VolumeError, match="no intensity statistics"):
        Mixture(of_brain(tiny, bare, annotation))


def test_micrometres_need_a_brain_that_says_how_long_a_voxel_is(
    tiny: Settings, phantom: Phantom, annotation: Path, tmp_path: Path
) -> None:
    path = tmp_path / "unknown.ome.zarr"
    create_image(
        path,
        levels=plan_levels(phantom.shape),
        dtype=np.uint16,
        frame=Frame((1.0, 1.0, 1.0)),
        kind="brain",
        spacing_known=False,
    )
    source = {"brain": str(path), "swc": [str(annotation)], "units": "um"}

    with pytest.raises(AnnotationError, match="does not say how long a voxel is"):
        Mixture(tiny(brains=[source], phantoms={"weight": 0.0}))


def test_a_brain_that_is_not_there_and_a_foreign_annotation_are_refused(
    tiny: Settings, brain: Path, annotation: Path, tmp_path: Path
) -> None:
    far = tmp_path / "far.swc"
    far.write_text("1 2 9000 9000 9000 1 -1\n2 2 9001 9000 9000 1 1\n")

    with pytest.raises(VolumeError):
        Mixture(of_brain(tiny, tmp_path / "none.zarr", annotation))
    with pytest.raises(AnnotationError, match="inside the volume"):
        Mixture(of_brain(tiny, brain, far))


def test_the_statistics_of_a_crop_are_those_of_its_voxels() -> None:
    image = np.random.default_rng(0).integers(0, 999, (5, 6, 7)).astype(np.uint16)

    found = summary(image)

    assert (found["min"], found["max"]) == (image.min(), image.max())
    assert found["percentiles"]["99.9"] == np.percentile(image, 99.9)
    assert found["mad"] == np.median(np.abs(image - np.median(image)))
