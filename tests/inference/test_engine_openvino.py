"""The OpenVINO engine: the same network, the same answers, to rounding."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import SETTINGS, save_brain
from numpy.typing import NDArray
from torch import nn

from neuroconn import infer, open_volume
from neuroconn.errors import HaloError, UsageError
from neuroconn.geometry import ZYX
from neuroconn.inference.encoding import Encoding
from neuroconn.inference.engine import device as engine_device
from neuroconn.inference.engine.torch_engine import (
    Engine,
    NonFiniteOutputError,
    choose,
    sample_tile,
)
from neuroconn.network import Constants, Model, ModelCard, Normalisation, UNet, save_model

# Not importorskip: a plain import of OpenVINO leaves a folder in the home of who runs the tests.
pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="an extra")

CARD = ModelCard(name="test", clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))
TILE = (24, 32, 16)


def model(levels: int = 2, convolutions: int = 2, head: str = "relu") -> Model:
    torch.manual_seed(levels)
    network = UNet(levels=levels, width=4, convolutions=convolutions, head=head)  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    nn.init.normal_(network.last.weight, std=0.3)
    return Model(network.eval(), CARD)


def eager(made: Model, tile: NDArray[np.float32], trim: ZYX = (0, 0, 0)) -> NDArray[np.float32]:
    with torch.inference_mode():
        out: NDArray[np.float32] = made.network(torch.from_numpy(tile)[None, None])[0, 0].numpy()
    return out[tuple(slice(t, n - t) for t, n in zip(trim, tile.shape, strict=True))]


def engine(made: Model, **arguments: object) -> Engine:
    wanted = {"device": "cpu", "precision": "float32", "kind": "openvino", "tile": TILE}
    return Engine(made, **{**wanted, **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize("trim", [(0, 0, 0), (8, 3, 5), (1, 7, 0)])
@pytest.mark.parametrize(("levels", "convolutions"), [(1, 2), (2, 1), (3, 2)])
def test_float32_is_the_network_itself(levels: int, convolutions: int, trim: ZYX) -> None:
    made, tile = model(levels, convolutions), sample_tile(TILE)

    found = engine(made, trim=trim).predict(tile)

    np.testing.assert_allclose(found, eager(made, tile, trim), atol=1e-5)


def test_the_head_may_be_a_sigmoid_and_stays_in_float32() -> None:
    made, tile = model(head="sigmoid"), sample_tile(TILE)

    np.testing.assert_allclose(engine(made).predict(tile), eager(made, tile), atol=1e-5)


@pytest.mark.skipif(not engine_device.has_bfloat16(), reason="this CPU computes in float32 only")
def test_bfloat16_stays_within_the_stored_step_and_is_checked_at_the_start() -> None:
    made, tile = model(levels=3), sample_tile((32, 32, 32))

    half = engine(made, precision="bf16", tile=tile.shape)

    assert half.half_error is not None
    assert 0 < half.half_error < 0.1
    error = np.abs(half.predict(tile) - eager(made, tile))
    assert 0 < np.percentile(error, 99.9) < 0.04
    # The head's output is not rounded: there would be 16 values a voxel above 8.
    assert np.unique(half.predict(tile)).size > 1000


def test_codes_and_repeats_are_the_same_bytes() -> None:
    made, encoding = model(), Encoding("uint8", 10.0)
    raw = np.random.default_rng(0).integers(0, 900, TILE).astype(np.uint16)
    constants = Constants("asinh", 100, 50)
    first, second = engine(made, trim=2), engine(made, trim=2, threads=1)

    codes = first.predict_codes(raw, constants, encoding).codes

    np.testing.assert_array_equal(codes, encoding.encode(first.predict(raw, constants)))
    np.testing.assert_array_equal(codes, second.predict_codes(raw, constants, encoding).codes)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_images_whose_answer_would_not_be_finite_are_errors_here_too(value: float) -> None:
    """Its ReLU turns NaN into 0: the answer itself looks fine."""
    tile = sample_tile(TILE)
    tile[3, 3, 3] = value

    with pytest.raises(NonFiniteOutputError):
        engine(model()).predict(tile)


def test_a_network_it_has_no_rule_for_is_refused() -> None:
    made = model()
    made.network.bottom[2] = nn.LeakyReLU()  # type: ignore[index]

    with pytest.raises(UsageError, match="no rule for LeakyReLU"):
        engine(made)


def test_it_computes_on_cpus_in_two_precisions() -> None:
    assert choose("auto", "float32", "openvino") == ("cpu", "float32")
    with pytest.raises(UsageError, match="on the CPU"):
        choose("cuda", "auto", "openvino")
    with pytest.raises(UsageError, match="auto, torch or openvino"):
        choose("auto", "auto", "tensorrt")
    with pytest.raises(HaloError, match="multiple of 4"):
        engine(model(), tile=(18, 16, 16))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)

    with pytest.raises(UsageError, match=r"neuroconn\[openvino\]"):
        engine(model())


def test_a_walk_with_it_is_that_with_torch_to_a_code(tmp_path: Path) -> None:
    brain, folder = tmp_path / "brain.ome.zarr", tmp_path / "model"
    voxels = np.random.default_rng(0).integers(90, 900, (16, 32, 32)).astype(np.uint16)
    save_brain(brain, voxels, smallest=16)
    made = model(levels=1)
    nn.init.normal_(made.network.last.weight, std=3.0)
    save_model(folder, made.network, CARD)

    maps = {}
    for kind in ("torch", "openvino"):
        settings = SETTINGS.model_copy(update={"engine": kind, "precision": "float32"})
        out = tmp_path / f"{kind}.ome.zarr"
        infer(brain, out, model=folder, settings=settings, seed_source="all", scheduler="sync")
        maps[kind] = open_volume(out).values

    # Two roundings of nearly the same distance may fall on neighbouring codes.
    np.testing.assert_allclose(maps["openvino"], maps["torch"], atol=0.0401)
    assert (maps["openvino"] != maps["torch"]).mean() < 1e-3
    assert np.unique(maps["torch"]).size > 10


def test_using_it_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    script = (
        "from neuroconn.inference.engine.openvino_engine import import_openvino\n"
        "print(import_openvino().Core().available_devices)"
    )

    out = subprocess.run(
        [sys.executable, "-c", script],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "CPU" in out.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_signal_after_compiling_reaches_its_handler() -> None:
    """In its own process: where this fails, the process crashes."""
    code = (
        "import os, signal, numpy as np\n"
        "from neuroconn.inference.engine.torch_engine import Engine\n"
        "from neuroconn.network import ModelCard, Normalisation, UNet\n"
        "from neuroconn.network.weights import Model\n"
        "card = ModelCard(name='u', clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))\n"
        "model = Model(UNet(levels=1, width=2).eval(), card)\n"
        "engine = Engine(model, kind='openvino', device='cpu', tile=(8, 8, 8))\n"
        "engine.predict(np.zeros((8, 8, 8), np.float32))\n"
        "caught = []\n"
        "signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "print(caught)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (run.returncode, run.stdout.strip()) == (0, "[2]"), run.stderr
