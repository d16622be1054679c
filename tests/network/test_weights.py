"""Models on disk: written and read back, and refused when anything is wrong."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import neuroconn.network.card as card_module
from neuroconn.errors import ModelError
from neuroconn.network import (
    Model,
    ModelCard,
    Normalisation,
    UNet,
    load_card,
    load_model,
    save_model,
)

CARD = ModelCard(
    name="small",
    clip=10,
    normalisation=Normalisation(softening=2),
    spacing_um=(2.0, 1.0, 1.0),
    training={"steps": 3, "data": "phantoms"},
    scores={"f1": 0.5},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = UNet(levels=1, width=2)
    network(torch.randn(2, 1, 4, 4, 4))  # moves the running statistics, which are saved too
    save_model(tmp_path / "model", network, CARD)
    return tmp_path / "model"


def test_a_model_read_back_predicts_the_same(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = UNet(levels=2, width=2, head="sigmoid").train()
    network(torch.randn(2, 1, 8, 8, 8))
    x = torch.randn(1, 1, 8, 8, 8)

    saved = save_model(tmp_path, network, CARD)
    model = load_model(tmp_path)

    assert model.card == saved
    assert model.card.normalisation == CARD.normalisation
    assert not model.network.training
    with torch.inference_mode():
        assert torch.equal(model.network(x), network.eval()(x))


def test_the_card_says_what_the_weights_are(folder: Path) -> None:
    card = load_card(folder)

    assert card.architecture["name"] == "unet"
    assert len(card.sha256 or "") == 64
    assert {"torch", "neuroconn", "numpy", "python"} <= card.versions.keys()
    assert load_model(folder).sha256 == card.sha256


def test_saving_the_same_network_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "again", load_model(folder).network, CARD)

    for name in ("model.safetensors", "model.json"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert {p.name for p in folder.iterdir()} == {"model.safetensors", "model.json"}


@pytest.mark.parametrize("part", ["", "model.json", "model.safetensors"])
def test_a_model_is_found_by_folder_and_by_either_file(folder: Path, part: str) -> None:
    assert load_model(folder / part).sha256 == load_model(str(folder)).sha256


def test_a_bare_name_is_a_shipped_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_module, "SHIPPED", folder.parent)

    assert load_model("model").sha256 == load_model(folder).sha256


def flip(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def edit(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "model.json"
        data = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({k: v for k, v in data.items() if v != "gone"}))

    return change


def poison(folder: Path) -> None:
    network = load_model(folder).network
    assert isinstance(network, UNet)
    state = network.state_dict()
    state["bottom.0.weight"][0, 0, 0, 0, 0] = float("nan")
    save_file(state, folder / "model.safetensors")
    import hashlib

    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    edit(sha256=sha256)(folder)


UNET = {"name": "unet", "levels": 1, "width": 2}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flip, r"have SHA-256 .* but their card says"),
        (truncate, "truncated"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "truncated"),
        (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors missing"),
        (lambda f: (f / "model.json").unlink(), r"model\.json missing"),
        (lambda f: (f / "model.json").write_text("{"), "as JSON"),
        (lambda f: (f / "model.json").write_text("[" * 100_000), "as JSON"),
        (edit(clip="gone"), "clip: Field required"),
        (edit(normalisation="gone"), "normalisation: Field required"),
        (edit(sha256="gone"), "lacks sha256"),
        (edit(architecture={}), "lacks architecture"),
        (edit(schema_version=2), "schema_version"),
        (edit(spacing_um=[0, 1, 1]), "spacing"),
        (edit(architecture={**UNET, "levels": 2}), r"missing: decoders\.1.* and 26 more"),
        (edit(architecture={**UNET, "levels": 50}), "at most 8"),
        (edit(architecture={**UNET, "width": 10**15}), "cannot be built"),
        (edit(architecture={**UNET, "width": 4}), "of another shape: .* for "),
        (edit(architecture={**UNET, "convolutions": 1}), "unexpected: "),
        (edit(architecture={"name": "vnet"}), r"known: .*unet"),
        (poison, r"NaN or infinite \(bottom\.0\.weight\)"),
    ],
)
def test_a_damaged_model_is_refused_in_one_line(
    folder: Path, damage: Callable[[Path], object], reason: str
) -> None:
    damage(folder)

    with pytest.raises(ModelError, match=reason) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('the checkpoint ran code')",)


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.pkl", "model.ckpt"])
def test_a_pickle_is_refused_and_never_opened(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Bomb()))

    with pytest.raises(ModelError, match="run code"):
        load_model(path)


def test_a_pickle_under_another_name_is_not_opened_either(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb()))

    with pytest.raises(ModelError, match="not safetensors"):
        load_model(folder)


@pytest.mark.parametrize("path", ["nowhere", "no/such/model", "x.safetensors", "..", "a\0b"])
def test_a_missing_model_names_what_is_missing(path: str) -> None:
    with pytest.raises(ModelError, match="missing"):
        load_model(path)


def test_a_network_with_nan_weights_is_not_saved(tmp_path: Path) -> None:
    network = UNet(levels=1, width=2)
    nn.init.constant_(network.last.weight, float("inf"))

    with pytest.raises(ModelError, match=r"last\.weight"):
        save_model(tmp_path / "model", network, CARD)
    assert not (tmp_path / "model").exists()


def test_saving_again_replaces_the_model(folder: Path) -> None:
    before = load_card(folder).sha256
    torch.manual_seed(5)

    save_model(folder, UNet(levels=1, width=3), CARD)

    assert load_model(folder).network.architecture()["width"] == 3
    assert load_card(folder).sha256 != before


def test_a_model_that_was_never_saved_has_no_digest() -> None:
    assert Model(UNet(levels=1, width=1), CARD).sha256 == ""


def test_cards_are_frozen_and_take_no_unknown_field() -> None:
    with pytest.raises(ValueError, match="frozen"):
        CARD.clip = 3  # type: ignore[misc]
    with pytest.raises(ValueError, match="colour"):
        ModelCard.model_validate({**CARD.model_dump(), "colour": 1})
