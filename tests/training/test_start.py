"""The weights a run starts from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from neuroconn.config.train import TrainSettings
from neuroconn.errors import ModelError
from neuroconn.network import ModelCard, Normalisation, save_model
from neuroconn.training.start import new_network

Settings = Callable[..., TrainSettings]


@pytest.fixture
def model(tiny: Settings, tmp_path: Path) -> Path:
    settings = tiny(seed=5)
    card = ModelCard(
        name="older", clip=settings.clip, normalisation=Normalisation(), spacing_um=(1, 1, 1)
    )
    save_model(tmp_path / "model", new_network(settings), card)
    return tmp_path / "model"


def test_random_weights_follow_from_the_seed(tiny: Settings) -> None:
    first, again, other = (new_network(tiny(seed=seed)).state_dict() for seed in (0, 0, 1))

    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_a_run_starts_from_the_weights_of_a_model(tiny: Settings, model: Path) -> None:
    found = new_network(tiny(initial=str(model), network={"dropout": 0.5}))

    expected = new_network(tiny(seed=5)).state_dict()
    for name, value in found.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)
    assert all(p.requires_grad for p in found.parameters())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"clip": 15.0}, r"up to 10 voxels and the settings ask for 15: set clip: 10"),
        ({"network": {"width": 4}}, r"'width': 2.* and the settings ask for .*'width': 4"),
        ({"network": {"levels": 2}}, r"'levels': 1.* ask for .*'levels': 2"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    tiny: Settings, model: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ModelError, match=reason):
        new_network(tiny(initial=str(model), **changes))


def test_a_model_that_is_not_there_is_a_model_error(tiny: Settings, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model at"):
        new_network(tiny(initial=str(tmp_path / "nothing")))
