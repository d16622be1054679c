"""Where crops come from: phantoms and brains, numbered."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from neuroconn.annotation import Graph, distance_block, graph_near, render
from neuroconn.config.train import TrainSettings
from neuroconn.errors import AnnotationError, ConfigError, UsageError, VolumeError
from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.phantom import Phantom, Variety, random_phantom
from neuroconn.training import Crop, Mixture, brain_crops, phantom_crops
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


def test_no_phantom_of_one_split_can_be_of_another(tiny: Settings) -> None:
    for stream in (0, 1, 2):
        mixture = Mixture(tiny(), stream=stream)
        for number in range(5):
            found = re.match(r"phantom seed (\d+), z \d+:\d+", mixture.crop(number)[0].where)
            assert found is not None
            assert int(found[1]) % 3 == stream


def test_the_phantom_named_is_the_phantom_the_crop_is_of(tiny: Settings) -> None:
    dense = {"displacement": 1.5, "variety": {"axons": 400.0}}
    settings = tiny(phantoms=dense, background=0.0)
    crop = Mixture(settings, graphs=True).crop(2)[0]
    seed = int(crop.where.split()[2].rstrip(","))
    box = box_of(crop)

    phantom = random_phantom((24, 24, 24), seed=seed, variety=Variety(empty=0.0, axons=400.0))

    np.testing.assert_array_equal(phantom.image(box), crop.image)
    strayed = phantom.displaced(1.5)
    np.testing.assert_array_equal(strayed.distance(box), crop.distance)
    assert (phantom.distance(box) != crop.distance).any()
    assert crop.graph is not None
    np.testing.assert_array_equal(strayed.graph(box).positions, crop.graph.positions)


def test_a_crop_of_a_brain_brings_the_graph_near_it(
    tiny: Settings, brain: Path, annotation: Path, phantom: Phantom
) -> None:
    settings = of_brain(tiny, brain, annotation)

    crop = Mixture(settings, graphs=True).crop(0)[0]

    near = graph_near(Graph.from_forest(phantom.forests[0]), box_of(crop), reach=10.0)
    assert crop.graph is not None
    np.testing.assert_array_equal(crop.graph.positions, near.positions)
    np.testing.assert_array_equal(crop.graph.edges, near.edges)
    assert Mixture(settings).crop(0)[0].graph is None


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
    monkeypatch.setattr(phantom_crops, "random_phantom", phantom)
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

    monkeypatch.setattr(brain_crops, "render", rendered)
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
    with pytest.raises(AnnotationError, match=r"brighter at the nodes with .*alignment: warn"):
        BrainCrops(wrong.brains[0], wrong)
    sure = tiny(brains=[{**source, "alignment": "warn"}], phantoms={"weight": 0.0})
    BrainCrops(sure.brains[0], sure)

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


def test_crops_larger_than_the_brain_are_refused(
    tiny: Settings, brain: Path, annotation: Path
) -> None:
    settings = of_brain(tiny, brain, annotation, crop=32)

    with pytest.raises(UsageError, match=r"crops of 32 voxels do not fit .* crop: 24 or less"):
        BrainCrops(settings.brains[0], settings)


def test_crops_to_learn_from_and_to_validate_with_share_no_voxel(
    tiny: Settings, brain: Path, annotation: Path
) -> None:
    settings = of_brain(tiny, brain, annotation, clip=5.0)
    covered = np.zeros((2, 24, 40, 48), dtype=bool)
    for stream in (0, 1):
        mixture = Mixture(settings, stream=stream)
        for number in range(40):
            covered[(stream, *box_of(mixture.crop(number)[0]).slices)] = True

    assert covered[0].any()
    assert covered[1].any()
    assert not ndimage.binary_dilation(covered[0], iterations=5)[covered[1]].any()


def box_of(crop: Crop) -> Box:
    """Where a crop says it comes from."""
    ends = [tuple(map(int, pair)) for pair in re.findall(r"[zyx] (\d+):(\d+)", crop.where)]
    return Box(*zip(*ends, strict=True))


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
