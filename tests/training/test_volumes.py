"""Whole sub-volumes: drawn apart from what is learnt, predicted by tiles, scored as lines."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from neuroconn.annotation import distance_map
from neuroconn.config.train import TrainSettings
from neuroconn.config.validation import VolumeSettings
from neuroconn.network import Model, ModelCard, Normalisation, UNet
from neuroconn.network.normalisation import Constants
from neuroconn.training import Mixture
from neuroconn.training.tiles import predict_volume, tile_engine
from neuroconn.training.volume_scores import score_volumes
from neuroconn.training.volumes import held_out_volumes

Settings = Callable[..., TrainSettings]
SIDE = 48


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(3)
    network = UNet(levels=1, width=3, convolutions=1, clip=10.0).eval()
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    card = ModelCard(name="x", clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))
    return Model(network, card)


@pytest.mark.parametrize("shape", [(24, 24, 24), (21, 40, 17)])
def test_tiles_with_a_wide_halo_give_the_network_on_the_whole_padded_volume(
    model: Model, shape: tuple[int, int, int]
) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 400, shape).astype(np.uint16)
    constants = Constants("asinh", offset=100.0, divisor=50.0)
    settings = VolumeSettings(edge=64, core=8, halo=9)

    engine = tile_engine(model, settings, device="cpu", precision="float32")
    found = predict_volume(engine, image, constants)

    assert engine.tile == (28, 28, 28)  # a halo of 9 becomes 10, on the pooling grid
    wide = [(16, 16 + (-n) % 2) for n in shape]
    padded = constants.apply(np.pad(image, wide, mode="reflect"))
    with torch.inference_mode():
        whole = model.network(torch.from_numpy(padded)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(found, whole[tuple(slice(16, 16 + n) for n in shape)], atol=1e-4)


def test_a_small_volume_is_one_tile(model: Model) -> None:
    engine = tile_engine(model, VolumeSettings(edge=9, halo=4), device="cpu", precision="float32")

    assert (engine.shape, engine.tile) == ((10, 10, 10), (18, 18, 18))


def test_volumes_are_the_same_at_every_call_and_never_those_that_are_learnt_from(
    tiny: Settings,
) -> None:
    settings = tiny(volumes={"phantoms": 2}, phantoms={"displacement": 2.0})

    first, again = held_out_volumes(settings), held_out_volumes(settings)

    assert [v.where for v in first] == [v.where for v in again]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert one.image.shape == one.distance.shape == (20, 20, 20)
    seeds = {crop.where.split(",")[0] for crop in first}
    mixture = Mixture(settings)
    learnt = {mixture.crop(n)[0].where.split(",")[0] for n in range(20)}
    assert len(seeds) == 2
    assert not seeds & learnt


def test_the_truth_of_a_volume_is_where_its_neurites_are(tiny: Settings) -> None:
    straight = held_out_volumes(tiny())
    learnt_from_strays = held_out_volumes(tiny(phantoms={"displacement": 3.0}))

    for one, other in zip(straight, learnt_from_strays, strict=True):
        np.testing.assert_array_equal(one.distance, other.distance)


def test_a_volume_of_a_brain_is_cut_from_what_is_held_out(
    tiny: Settings, brain: Path, annotation: Path
) -> None:
    source = {"brain": str(brain), "swc": [str(annotation)], "held_out": 0.4}
    settings = tiny(brains=[source], phantoms={"weight": 0.0}, crop=8, minimum_voxels=1)

    (volume,) = held_out_volumes(settings)

    assert max(volume.image.shape) <= 20
    taken = voxels(volume.where)
    learnt = Mixture(settings)
    for n in range(30):
        assert not taken & voxels(learnt.crop(n)[0].where)
    assert not held_out_volumes(settings.model_copy(update={"brains": ()}))


def voxels(where: str) -> set[tuple[int, int, int]]:
    """The voxels of ``brain, z 0:8, y 4:12, x 3:11``."""
    sides = [part.split()[1].split(":") for part in where.split(", ")[-3:]]
    grids = np.meshgrid(*[np.arange(int(a), int(b)) for a, b in sides])
    return set(zip(*[g.ravel().tolist() for g in grids], strict=True))


def line(gap: slice | None = None, aside: int = 0) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE, SIDE), bool)
    mask[20, 20 + aside, 4:-4] = True
    if gap is not None:
        mask[20, 20 + aside, gap] = False
    return distance_map(mask, clip=10.0)


def scores(prediction: np.ndarray) -> dict[str, float]:
    return score_volumes([prediction], [line()], VolumeSettings(edge=SIDE, core=16))


def test_a_perfect_prediction_has_perfect_scores() -> None:
    found = scores(line())

    assert found["quality"] == found["cldice"] == 1
    assert found["tlts"] > 0.95  # a thinned tube is a little shorter than its line
    assert found["betti"] == found["breaks"] == found["volume_mse"] == 0
    assert 0.1 < found["average_precision"] <= 1


def test_a_gap_is_a_break_and_a_second_piece() -> None:
    found = scores(line(slice(20, 30)))

    assert found["betti"] == 1
    assert found["breaks"] == pytest.approx(1000 / 40, rel=0.1)
    assert found["tlts"] < 0.7
    assert 0.7 < found["quality"] < 0.9


def test_what_lies_within_the_slack_is_found_and_what_lies_beyond_is_not() -> None:
    assert scores(line(aside=3))["quality"] >= 0.9
    assert scores(line(aside=6))["quality"] == 0


def test_nothing_predicted_is_nothing_found() -> None:
    found = scores(np.full((SIDE,) * 3, 10.0, np.float32))

    assert found["quality"] == found["tlts"] == found["cldice"] == 0
    assert found["betti"] == 1


def test_counts_of_volumes_are_added_up() -> None:
    nothing = np.full((SIDE,) * 3, 10.0, np.float32)
    settings = VolumeSettings(edge=SIDE, core=16)

    both = score_volumes([line(), nothing], [line(), line()], settings)

    assert both["completeness"] == 0.5
    assert both["correctness"] == 1
    assert score_volumes([], [], settings) == {}


def test_specks_all_over_the_volume_are_scored_and_not_followed() -> None:
    specks = np.where(np.random.default_rng(0).random((SIDE,) * 3) < 0.3, 1.0, 9.0)

    found = scores(specks.astype(np.float32))

    assert found["tlts"] == 0
    assert found["quality"] < 0.1
