"""Every preset of configs/train: valid, explained, and able to learn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neuroconn
from neuroconn.config import find_preset, list_presets, load_yaml, resolve
from neuroconn.config.base import read_settings
from neuroconn.config.train import TrainSettings
from neuroconn.training import Mixture, Trainer
from neuroconn.training.loader import batches
from neuroconn.training.ranks import Ranks

PRESETS = sorted(list_presets("train")["train"])
REPORT = {
    f"{network}-{loss}"
    for network in ("unet", "resunet", "cenet")
    for loss in ("mse", "snake", "3d", "2d", "cldice")
}
SMALL: dict[str, dict[str, Any]] = {
    "unet": {"crop": 16, "network": {"levels": 1, "width": 2}},
    "resunet": {"crop": 64, "network": {"depth": 10, "width": 2}},
    "resunetpp": {"crop": 16, "network": {"levels": 1, "width": 2}},
    "cenet": {"crop": 32, "network": {"depth": 10, "width": 2, "pools": [2]}},
}


def settings_of(name: str) -> TrainSettings:
    return read_settings(TrainSettings, find_preset("train", name))


def made_small(settings: TrainSettings) -> TrainSettings:
    """The same network and losses, tiny, all met within two iterations; no data but phantoms."""
    plain = settings.model_dump(mode="json") | {"initial": None, "tissues": []}
    for term in plain["loss"]["terms"]:
        term["start"], term["stop"] = min(term["start"], 1), term["stop"] and 1
        if "l_" in term["name"]:
            term["options"] |= {"window": 8, "dilation": 1}
    small = {**SMALL[settings.network.name], "batch": 1, "iterations": 2, "precision": "fp32"}
    phantoms = {"margin": 0, "variety": {"empty": 0.0, "axons": 30.0}}
    return resolve(TrainSettings, plain, small, {"minimum_voxels": 1, "phantoms": phantoms})


def test_the_matrix_of_the_report_is_there() -> None:
    assert {*REPORT, "oner-2021", "shipped-phantoms", "shipped"} <= set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_valid_says_when_to_choose_it_and_holds_only_what_differs(name: str) -> None:
    path = find_preset("train", name)
    settings = settings_of(name)

    assert settings.name == name
    assert path.read_text().startswith("# ")
    given = load_yaml(path.read_text())
    default = TrainSettings().model_dump(mode="json")
    same = [
        k for k, v in settings.model_dump(mode="json").items() if k in given and v == default[k]
    ]
    assert set(same) <= {"name"}, f"{same} are the defaults"
    for term in settings.loss.terms:
        assert term.start < settings.iterations
        window = term.options.get("window", 48)
        assert "l_" not in term.name or settings.crop % int(str(window)) == 0


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_learns_with_every_loss_it_names(name: str) -> None:
    settings = made_small(settings_of(name))
    trainer = Trainer(settings, Ranks())
    mixture = Mixture(settings, graphs=trainer.objective.wants_graph)
    prepare = trainer.objective.prepare
    before = {k: v.clone() for k, v in trainer.network.named_parameters()}

    seen: set[str] = set()
    for batch in batches(mixture, settings, first=0, last=2, prepare=prepare):
        trainer.step([batch])
        trainer.ledger.settle()
        seen |= set(trainer.ledger.latest)

    assert {f"loss_{term.name}" for term in settings.loss.terms} <= seen
    assert np.isfinite(list(trainer.ledger.means().values())).all()
    moved = [k for k, v in trainer.network.named_parameters() if not torch.equal(v, before[k])]
    assert trainer.network.output_layer.weight.isfinite().all()
    assert len(moved) > len(before) / 2


def test_the_table_of_presets_names_each_of_them() -> None:
    table = Path(neuroconn.__file__).parents[1] / "configs" / "README.md"
    if not table.is_file():
        pytest.skip("an installed package has no table")
    text = table.read_text()

    assert not [name for name in PRESETS if f"`{name}`" not in text]
