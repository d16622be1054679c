"""Every network through a whole run: it predicts a brain, or says in one line why not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from fakes import fibre, save_brain
from torch import nn

from neuroconn import infer
from neuroconn.cli import main
from neuroconn.config.infer import EvidenceRules, InferSettings
from neuroconn.doctor import doctor
from neuroconn.errors import HaloError, NeuroconnError, UsageError
from neuroconn.inference.engine import seam
from neuroconn.inference.engine.memory import Room, predict_memory
from neuroconn.inference.engine.seam import seam_errors
from neuroconn.network import (
    ModelCard,
    Normalisation,
    build,
    load_model,
    save_model,
)
from neuroconn.volume import open_image

SMALL: dict[str, dict[str, Any]] = {
    "unet": {"levels": 2, "width": 4},
    "resunet": {"depth": 10, "width": 4},
    "resunetpp": {"levels": 2, "width": 4},
    "cenet": {"depth": 10, "width": 4},
}
HALO, CHUNK = 32, 32


def save(folder: Path, name: str) -> Path:
    """A network with random weights and the statistics of a batch, whose output varies."""
    torch.manual_seed(1)
    network = build(name, **SMALL[name])
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 1.0
    noise = torch.randn(2, 1, 32, 32, 32)
    with torch.no_grad():
        network.train()(noise)
        network.output_layer.weight.div_(network.eval()(noise).std())
    card = ModelCard(name=name, clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))
    save_model(folder, network, card)
    return folder


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("networks") / "brain.zarr"
    save_brain(path, fibre((64, 32, 64), bend=(20, 16, 40)))
    return path


def settings(**changes: Any) -> InferSettings:
    usual: dict[str, Any] = {
        "chunk": CHUNK,
        "inner_chunk": 16,
        "halo": HALO,
        "dtype": "float32",
        "device": "cpu",
        "evidence": EvidenceRules(reliable=4),
        "audit": {"probes": 0, "directed": 0},
    }
    return InferSettings.model_validate({**usual, **changes})


def run(brain: Path, output: Path, model: Path, **changes: Any) -> Any:
    return infer(
        brain,
        output,
        model=model,
        seed_source="all",
        settings=settings(**changes),
        scheduler="sync",
    )


@pytest.mark.parametrize("name", SMALL)
def test_a_run_predicts_what_the_network_does_on_each_tile(
    brain: Path, tmp_path: Path, name: str
) -> None:
    model = load_model(save(tmp_path / "model", name))

    report = run(brain, tmp_path / "out.zarr", tmp_path / "model", precision="float32")

    assert report.complete
    image = open_image(brain)
    constants = model.card.normalisation.constants(image.attributes["intensity"])
    around = np.pad(np.asarray(image.array(0)[:]), HALO, mode="reflect")
    stored = np.asarray(open_image(tmp_path / "out.zarr").array(0)[:])
    for z, x in ((0, 0), (32, 32)):
        tile = constants.apply(around[z : z + 96, :96, x : x + 96])
        with torch.inference_mode():
            whole = model.network(torch.from_numpy(tile)[None, None])[0, 0].numpy()
        core = np.clip(whole[HALO:-HALO, HALO:-HALO, HALO:-HALO], 0, 10)
        found = stored[z : z + 32, :, x : x + 32]
        # Random weights amplify the rounding of folded ones, here and there.
        np.testing.assert_allclose(found, core, atol=5e-3, rtol=0)
        assert np.abs(found - core).mean() < 0.01 * core.std()


@pytest.mark.parametrize("name", ["resunet", "resunetpp", "cenet"])
def test_an_engine_without_a_graph_of_a_network_is_refused_before_the_first_chunk(
    brain: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(UsageError, match=r"openvino cannot build a .*; set engine: torch"):
        run(brain, tmp_path / "out.zarr", save(tmp_path / "model", name), engine="openvino")

    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("resunet", {"halo": 16}, "pooling grid of 32.*halo: 0 or 32"),
        ("resunet", {"exact": True}, r"sees 262.*Set halo: 288 or more"),
        ("cenet", {"exact": True}, r"grid of exact tiles of 480"),
        ("resunetpp", {"exact": True}, r"pools the whole tile .*squeeze-and-excitation"),
    ],
)
def test_a_tiling_that_a_network_does_not_allow_is_refused(
    brain: Path, tmp_path: Path, name: str, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(HaloError, match=reason):
        run(brain, tmp_path / "out.zarr", save(tmp_path / "model", name), **changes)


@pytest.mark.parametrize(("name", "exact"), [("unet", True), ("resunetpp", False)])
def test_a_seam_is_measured_where_no_halo_is_exact(
    brain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, exact: bool
) -> None:
    monkeypatch.setattr("neuroconn.inference.engine.seam._CORE", 16)
    monkeypatch.setattr("neuroconn.inference.engine.seam._WIDEST", 28)
    model, image = load_model(save(tmp_path / "model", name)), open_image(brain)
    constants = model.card.normalisation.constants(image.attributes["intensity"])

    narrow, wide = seam_errors(image, model, constants, (8, 16, 64), places=1, device="cpu")

    assert (narrow.halo, wide.halo) == (8, 16)
    assert narrow.exact == exact
    assert narrow.reference == (24 if exact else 28)
    assert narrow.mean > wide.mean > 0


def test_a_seam_with_an_exact_halo_too_wide_for_memory_is_measured_with_a_narrower_one(
    brain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, image = load_model(save(tmp_path / "model", "resunet")), open_image(brain)
    needed = predict_memory(model.network, (128, 128, 128), "float32", (32, 32, 32))
    monkeypatch.setattr(seam, "room", lambda: Room("here", needed, None))
    constants = model.card.normalisation.constants(image.attributes["intensity"])

    (found,) = seam_errors(image, model, constants, (0, 32), places=1, device="cpu")

    assert (found.halo, found.reference, found.exact) == (0, 32, False)


def test_doctor_speaks_of_a_network_without_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuroconn.inference.engine.reach.LARGEST", 32)
    small = settings(chunk=16, halo=8)

    found = doctor(save(tmp_path / "model", "resunetpp"), settings=small, rf=True)

    assert found.problems == []
    assert found.model is not None
    assert found.model.halo_needed is None
    assert found.speed is not None
    assert not found.speed.halo_is_exact
    assert [r.share for r in found.radii] == [0.9, 0.99, 0.999]


def test_a_dry_run_takes_a_network_without_a_bound(brain: Path, tmp_path: Path) -> None:
    words = ["chunk=16", "inner_chunk=16", "halo=8", "evidence.reliable=4", "precision=float32"]
    model = save(tmp_path / "model", "resunetpp")

    out = CliRunner().invoke(
        main,
        ["infer", str(brain), str(tmp_path / "o.zarr"), "--model", str(model), "--seeds", "all",
         "--scheduler", "sync", "--dry-run", "--json", *(w for x in words for w in ("--set", x))],
    )  # fmt: skip

    assert out.exit_code == 0, out.output
    assert not (tmp_path / "o.zarr").exists()


def test_what_is_refused_is_one_line(brain: Path, tmp_path: Path) -> None:
    with pytest.raises(NeuroconnError) as caught:
        run(brain, tmp_path / "o.zarr", save(tmp_path / "model", "resunetpp"), exact=True)

    assert "\n" not in str(caught.value)
