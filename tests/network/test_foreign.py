"""TorchScript and ONNX files: taken as they are, refused when they cannot be trusted."""

import hashlib
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neuroconn.errors import HaloError, ModelError, UsageError
from neuroconn.network import load_card, load_model, receptive_field
from neuroconn.network.blackbox import BlackBox

Made = Callable[..., Path]
FORMATS = ["m.pt", "m.onnx"]


class Bright(nn.Module):
    """Something of every voxel alone, near where it is bright."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(torch.relu(10 - 3 * x))


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_answers_what_the_module_answers(
    made: Made, name: str, elsewhere: nn.Module
) -> None:
    x = torch.rand(1, 1, 16, 24, 16) * 3
    path = made(name, elsewhere)
    model = load_model(path)

    with torch.inference_mode():
        np.testing.assert_allclose(model.network(x), elsewhere(x), atol=1e-5)
    assert model.card.clip == 10
    assert model.network.stride == 4
    assert load_card(path) == model.card


@pytest.mark.parametrize("name", FORMATS)
def test_which_channel_and_what_it_means_stand_in_the_card(made: Made, name: str) -> None:
    both = Bright(lambda d: torch.cat([d - 50, (1 - d / 10).clamp(0, 1)], dim=1))
    about = {"channel": 1, "output": "probability"}

    network = load_model(made(name, both, architecture=about)).network

    x = torch.rand(1, 1, 8, 8, 8)
    torch.testing.assert_close(network(x), torch.relu(10 - 3 * x))


def test_units_of_its_output_are_scaled(made: Made) -> None:
    tenths = made("m.pt", Bright(lambda d: d / 10), architecture={"scale": 10})

    x = torch.rand(1, 1, 8, 8, 8)
    torch.testing.assert_close(load_model(tenths).network(x), torch.relu(10 - 3 * x))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: torch.cat([d, d], dim=1), "2 channels"),
        (lambda d: d[..., ::2], "no map of every voxel"),
        (lambda d: d * float("nan"), "NaN"),
        (lambda d: 1 - d / 10, "larger on bright lines"),
        (lambda d: d * 0 + 3, "everywhere"),
        (lambda d: d * 40, "not distances from 0 to 10"),
        (lambda d: d - 50, "not distances"),
    ],
)
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_no_map_of_distances_is_refused(
    made: Made, name: str, change: Callable[[Tensor], Tensor], reason: str
) -> None:
    with pytest.raises(ModelError, match=reason) as error:
        load_model(made(name, Bright(change)))

    assert error.value.exit_code == 4
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", FORMATS)
def test_a_flipped_bit_is_noticed(made: Made, name: str) -> None:
    path = made(name)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(ModelError, match="SHA-256"):
        load_model(path)


@pytest.mark.parametrize("name", FORMATS)
def test_a_card_without_a_digest_is_told_the_digest(made: Made, name: str) -> None:
    path = made(name, sha256=None)

    with pytest.raises(ModelError, match=hashlib.sha256(path.read_bytes()).hexdigest()):
        load_card(path)


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_without_a_card_is_told_what_belongs_in_it(made: Made, name: str) -> None:
    path = made(name)
    path.with_suffix(".json").unlink()

    with pytest.raises(ModelError, match=r"no card m\.json.*normalisation.*sha256"):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"architecture": {"name": "onnx"}}, "card .* is of a onnx model"),
        ({"architecture": {"stride": 0}}, "architecture.stride"),
        ({"architecture": {"what": 1}}, "architecture.what"),
        ({"clip": -1}, "clip"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(made: Made, change: Any, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        load_card(made("m.pt", **change))


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('the checkpoint ran code')",)


@pytest.mark.parametrize("new", [False, True])
def test_a_pickle_with_a_card_is_not_opened_either(tmp_path: Path, new: bool) -> None:
    path = tmp_path / "m.pt"
    if new:
        torch.save({"a": torch.zeros(2), "b": Bomb()}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb()))
    path.with_suffix(".json").write_text("{}")

    with pytest.raises(ModelError, match="pickled checkpoint"):
        load_model(path)


def test_garbage_is_neither_format(tmp_path: Path) -> None:
    for name in FORMATS:
        (tmp_path / name).write_bytes(b"PK garbage")
        with pytest.raises(ModelError, match=r"not TorchScript|not an ONNX"):
            load_model(tmp_path / name)
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(tmp_path / "none.onnx")


def test_weights_that_are_not_finite_are_refused(made: Made, elsewhere: nn.Module) -> None:
    with torch.no_grad():
        next(elsewhere.parameters())[0] = float("nan")

    with pytest.raises(ModelError, match="weights that are NaN"):
        load_model(made("m.pt", elsewhere))


def test_an_onnx_model_says_what_is_missing(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made("m.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(UsageError, match=r"neuroconn\[onnx\]"):
        load_model(path)


def test_a_model_of_one_shape_takes_no_other(made: Made) -> None:
    network = load_model(made("m.pt", architecture={"tile": [16, 16, 16]})).network

    assert isinstance(network, BlackBox)
    network.check_tile((16, 16, 16))
    with pytest.raises(HaloError, match="chunk"):
        network.check_tile((16, 16, 20))


def test_a_stated_halo_is_taken_at_its_word(made: Made) -> None:
    sees = receptive_field(load_model(made("m.pt", architecture={"halo": 30})).network)

    assert (sees.halo_needed, sees.halo, sees.stride) == (30, 32, 4)


def test_the_card_holds_every_word_that_decides_the_answer(made: Made) -> None:
    plain, scaled = made("a.pt"), made("b.pt", architecture={"scale": 1.1})

    assert load_card(plain).architecture != load_card(scaled).architecture
    assert json.loads(json.dumps(load_card(plain).architecture))["output"] == "distance"
