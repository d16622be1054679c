"""What is checked of a model and of the workers before the first chunk."""

import hashlib
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import SETTINGS, fibre, save_brain
from torch import Tensor, nn

import neuroconn.network
from neuroconn import infer, open_volume
from neuroconn.config.infer import InferSettings
from neuroconn.errors import ClusterError, HaloError, ModelError, UsageError
from neuroconn.inference import predictors
from neuroconn.inference.engine.memory import Room
from neuroconn.inference.predictors import check_model, check_room, engine_picker, engine_predictor
from neuroconn.inference.prepare import prepare
from neuroconn.network import UNet


class Loaded:
    """A model as ``load_model`` gives it."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network


def with_instance_norm() -> UNet:
    network = UNet(levels=1, width=2)
    network.bottom[1] = nn.InstanceNorm3d(4)
    return network


@pytest.mark.parametrize("exact", [False, True])
def test_norms_that_see_the_whole_tile_are_refused(
    monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    network = with_instance_norm().eval()
    monkeypatch.setattr(neuroconn.network, "load_model", lambda _: Loaded(network))

    with pytest.raises(HaloError, match="InstanceNorm"):
        check_model("any", (64, 64, 64), InferSettings(exact=exact))


def test_exact_mode_wants_the_whole_receptive_field(monkeypatch: pytest.MonkeyPatch) -> None:
    network = UNet(levels=3, width=2).eval()
    monkeypatch.setattr(neuroconn.network, "load_model", lambda _: Loaded(network))

    check_model("any", (64, 64, 64), InferSettings(exact=True, halo=48))
    with pytest.raises(HaloError, match="48"):
        check_model("any", (64, 64, 64), InferSettings(exact=True, halo=40))


class Near(nn.Module):
    """Distance to bright voxels, as far as one convolution sees: 2 voxels."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        self.spread = nn.MaxPool3d(5, stride=1, padding=2)
        self.norm = nn.InstanceNorm3d(1) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = x + 0.01 * self.norm(x)
        return torch.relu(10 - 5 * y.clamp(0, 2)) * 0.5 + torch.relu(
            5 - 2.5 * self.spread(y).clamp(0, 2)
        )


def script(path: Path, module: nn.Module, **about: Any) -> Path:
    """Write TorchScript and its card."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(module, torch.rand(1, 1, 8, 8, 8)).save(path)  # type: ignore[no-untyped-call]
    card = {
        "name": "near",
        "architecture": {"name": "torchscript", **about},
        "clip": 10,
        "normalisation": {"kind": "fixed", "offset": 100, "divisor": 300},
        "spacing_um": [2, 1, 1],
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def test_a_foreign_model_is_measured_in_exact_mode_only(tmp_path: Path) -> None:
    near = str(script(tmp_path / "near.pt", Near()))
    mixing = str(script(tmp_path / "mixing.pt", Near(norm=True)))
    chunk, exact = (16, 16, 16), SETTINGS.model_copy(update={"exact": True})

    check_model(near, chunk, SETTINGS)
    check_model(mixing, chunk, SETTINGS)
    check_model(near, chunk, exact)
    with pytest.raises(HaloError, match="sees 2"):
        check_model(near, chunk, exact.model_copy(update={"halo": 1}))
    with pytest.raises(HaloError, match="whole tile"):
        check_model(mixing, chunk, exact)


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ({"margin": 9}, "set halo: 9 or more"),
        ({"stride": 3}, "pooling grid of 3"),
        ({"tile": [16, 16, 16]}, "tiles of .16, 16, 16. only, not .32, 32, 32."),
    ],
)
def test_a_tiling_that_does_not_suit_a_foreign_model_is_refused(
    tmp_path: Path, about: dict[str, Any], reason: str
) -> None:
    near = script(tmp_path / "near.pt", Near(), **about)

    with pytest.raises(HaloError, match=reason):
        check_model(str(near), (16, 16, 16), SETTINGS)


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    path = tmp_path / "brain.ome.zarr"
    save_brain(path, fibre())
    return path


def test_a_walk_with_torchscript_is_one_with_the_module(tmp_path: Path, brain: Path) -> None:
    near, out = script(tmp_path / "near.pt", Near()), tmp_path / "map.ome.zarr"

    report = infer(brain, out, model=near, settings=SETTINGS, seed_source="all", scheduler="sync")

    assert report.complete
    image = (fibre().astype(np.float32) - 100) / 300
    with torch.inference_mode():
        expected = Near()(torch.from_numpy(np.pad(image, 8, mode="reflect"))[None, None])
    inner = expected[0, 0, 8:-8, 8:-8, 8:-8].numpy()
    np.testing.assert_allclose(open_volume(out).values, np.minimum(inner, 10), atol=0.0201)


def test_the_engine_the_card_and_what_it_says_belong_to_the_run(
    tmp_path: Path, brain: Path
) -> None:
    near = script(tmp_path / "near.pt", Near())

    def run_id(model: Path, **changes: Any) -> str:
        settings = SETTINGS.model_copy(update=changes)
        job = prepare(brain, tmp_path / "out", model=model, settings=settings, seed_source="all")
        return job.plan("cpu", "float32")[0].run_id

    again = script(tmp_path / "again.pt", Near(), scale=1.5)
    again.write_bytes(near.read_bytes())
    card = json.loads(again.with_suffix(".json").read_text())
    card["sha256"] = hashlib.sha256(near.read_bytes()).hexdigest()
    again.with_suffix(".json").write_text(json.dumps(card))

    assert run_id(near) == run_id(near, engine="torch")
    assert len({run_id(near), run_id(near, engine="openvino"), run_id(again)}) == 3


def test_a_worker_with_another_card_refuses(tmp_path: Path, brain: Path) -> None:
    near = script(tmp_path / "near.pt", Near())
    job = prepare(brain, tmp_path / "out", model=near, settings=SETTINGS, seed_source="all")
    plan, _ = job.plan("cpu", "float32")
    engine_predictor(plan, 1, False)

    with pytest.raises(ModelError, match="something else of its architecture"):
        engine_predictor(replace(plan, network="0" * 64), 1, False)


def test_a_worker_without_the_package_of_the_engine_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert engine_picker("torch", {"name": "unet"})("cpu", "float32") == ("cpu", "float32")
    assert engine_picker("torch", {"name": "torchscript"})("cpu", "auto") == ("cpu", "float32")
    monkeypatch.setattr(predictors, "find_spec", lambda name: None)

    with pytest.raises(UsageError, match=r"openvino is not installed.*neuroconn\[openvino\]"):
        engine_picker("openvino", {"name": "unet"})("cpu", "auto")
    with pytest.raises(UsageError, match=r"neuroconn\[onnx\]"):
        engine_picker("torch", {"name": "onnx"})("cpu", "auto")


def test_a_worker_with_another_release_of_the_engine_refuses(tmp_path: Path, brain: Path) -> None:
    near = script(tmp_path / "near.pt", Near())
    settings = SETTINGS.model_copy(update={"engine": "openvino"})
    job = prepare(brain, tmp_path / "out", model=near, settings=settings, seed_source="all")
    plan, _ = job.plan("cpu", "float32")
    assert "openvino" in dict(plan.versions)
    other = tuple((n, "0.1" if n == "openvino" else v) for n, v in plan.versions)

    with pytest.raises(ClusterError, match=r"openvino .* \(client: 0\.1\)"):
        predictors.open_worker_context(replace(plan, versions=other), engine_predictor, 1)


def test_tiles_without_room_are_refused_before_the_first_chunk(
    tmp_path: Path, brain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, out = script(tmp_path / "near.pt", Near()), tmp_path / "map.ome.zarr"
    monkeypatch.setattr("neuroconn.inference.run.room", lambda: Room("here", 40 << 20, None))

    with pytest.raises(UsageError, match=r"need 0\.1 GiB, here has 0\.0 free"):
        infer(brain, out, model=near, settings=SETTINGS, seed_source="all", scheduler="sync")

    assert not out.exists()
    job = prepare(brain, out, model=near, settings=SETTINGS, seed_source="all")
    check_room(job.plan("cpu", "float32")[0], [Room("here", 1 << 30, None)])
