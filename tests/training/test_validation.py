"""Scores of the weights that would be saved, and pictures of what they see."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from neuroconn.config.train import TrainSettings
from neuroconn.training import Trainer
from neuroconn.training import validation as validation_module
from neuroconn.training.pictures import draw, save
from neuroconn.training.ranks import Ranks
from neuroconn.training.sample import Batch
from neuroconn.training.validation import Validation, crop_scores

Settings = Callable[..., TrainSettings]


def crop(truth: np.ndarray) -> Batch:
    return Batch(torch.zeros(1, 1, *truth.shape), torch.from_numpy(truth)[None, None])


@pytest.mark.parametrize(
    ("prediction", "scores"),
    [
        ("truth", {"mse": 0.0, "recall": 1.0, "precision": 1.0}),
        ("far", {"recall": 0.0, "precision": 1.0}),
        ("near", {"recall": 1.0, "precision": 0.25}),
    ],
)
def test_scores_of_known_predictions(prediction: str, scores: dict[str, float]) -> None:
    truth = np.full((4, 4, 4), 9, np.float32)
    truth[..., 0] = 0.5
    answer = {"truth": truth, "far": np.full_like(truth, 9), "near": np.zeros_like(truth)}

    found = crop_scores([answer[prediction]], [crop(truth)])

    assert {k: found[k] for k in scores} == pytest.approx(scores)


def test_validation_changes_no_weight_and_leaves_the_network_learning(tiny: Settings) -> None:
    settings = tiny()
    trainer, validation = Trainer(settings, Ranks()), Validation(settings)
    trainer.step([validation.crops[0]])
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}

    first, again = validation.scores(trainer), validation.scores(trainer)

    assert first == again
    assert trainer.network.training
    assert all(p.requires_grad for p in trainer.network.parameters())
    for name, value in trainer.network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_the_mean_of_the_weights_is_judged_where_it_is_what_is_saved(tiny: Settings) -> None:
    settings = tiny(optimiser={"average": 0.99, "rate": 0.1})
    trainer, validation = Trainer(settings, Ranks()), Validation(settings)
    assert trainer.average is not None

    def far(network: Any, value: float) -> None:
        network.output_layer.weight.data.zero_()
        network.output_layer.bias.data.fill_(value)

    far(trainer.network, 0.0)
    far(trainer.average.network, 10.0)

    found = validation.scores(trainer)

    truth = validation.crops[0].distances.numpy()
    assert found["mse"] == pytest.approx(np.square(10 - truth).mean(), rel=1e-4)
    volume = validation.volumes[0].distance
    assert found["volume_mse"] == pytest.approx(np.square(10 - volume).mean(), rel=1e-4)


def test_a_network_that_answers_nan_has_no_score_and_does_not_end_the_run(
    tiny: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = tiny()
    trainer, validation = Trainer(settings, Ranks()), Validation(settings)

    def nothing(*_: object) -> np.ndarray:
        raise validation_module.NonFiniteOutputError("the network answered NaN")

    monkeypatch.setattr(validation_module, "predict_volume", nothing)

    found = validation.scores(trainer)

    assert np.isnan(found["quality"])
    assert np.isfinite(found["mse"])
    assert "the network answered NaN" in caplog.text


def test_a_picture_shows_image_target_and_prediction_side_by_side(tmp_path: Path) -> None:
    image = np.zeros((8, 10, 12), np.float32)
    image[3, 5, 6] = 4
    truth = np.full((8, 10, 12), 10, np.float32)
    truth[2, 4, :] = 0
    batch = Batch(torch.from_numpy(image)[None, None], torch.from_numpy(truth)[None, None])
    blank = np.full_like(truth, 10)

    picture = draw([batch, batch], [truth, blank], clip=10.0)

    assert picture.shape == (10 + 4 + 10, 3 * 12 + 2 * 4, 3)
    panels = [picture[:10, a : a + 12] for a in (0, 16, 32)]
    assert np.argwhere(panels[0][..., 0] == 255).tolist() == [[5, 6]]
    for panel in panels[1:]:
        assert (panel[4] == 255).all()
        assert (panel[:4] == 0).all()
    assert (picture[14:, 32:44] == 0).all()

    path = save(picture, tmp_path / "pictures", 500)
    assert path.name == "0000500.png"
    with Image.open(path) as stored:
        assert stored.size == (88, 48)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
