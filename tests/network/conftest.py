"""Models made elsewhere, the way their makers would export them."""

import hashlib
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuroconn.network import UNet

sys.path.insert(0, str(Path(__file__).parent))  # for settled.py

CARD = {
    "name": "elsewhere",
    "clip": 10,
    "normalisation": {"kind": "fixed", "offset": 100, "divisor": 100},
    "spacing_um": [2, 1, 1],
}


class Elsewhere(nn.Module):
    """A network of ours without our protocol; bright voxels are near."""

    def __init__(self, network: UNet, change: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self.change = network, change or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        wiggle = self.network.head(self.network.features(x, (0, 0, 0)))
        out: Tensor = self.change(torch.relu(9 - 4 * x + 0.05 * wiggle))
        return out


def unet(levels: int = 2, seed: int = 0) -> UNet:
    torch.manual_seed(seed)
    network = UNet(levels=levels, width=2, dropout=0)
    nn.init.normal_(network.last.weight, std=0.3)
    return network.eval().requires_grad_(False)


def export(module: nn.Module, path: Path, side: int = 16, *, free: bool = True) -> Path:
    """Write TorchScript or ONNX, by the ending."""
    x = torch.rand(1, 1, side, side, side)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would like everyone to have moved on
        if path.suffix == ".onnx":
            free_axes = {name: {2: "z", 3: "y", 4: "x"} for name in ("x", "y")}
            torch.onnx.export(
                module.eval(),
                (x,),
                path,
                dynamo=False,
                input_names=["x"],
                output_names=["y"],
                dynamic_axes=free_axes if free else None,
            )
        else:
            torch.jit.trace(module.eval(), x, check_trace=False).save(path)  # type: ignore[no-untyped-call]
    return path


def describe(path: Path, stride: int = 4, **changes: Any) -> Path:
    """Put a card beside a file."""
    name = "onnx" if path.suffix == ".onnx" else "torchscript"
    card = {**CARD, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    card["architecture"] = {"name": name, "stride": stride, **changes.pop("architecture", {})}
    path.with_suffix(".json").write_text(json.dumps({**card, **changes}))
    return path


Made = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """``made("m.pt", module)``: a file with its card; without a module, a good one."""

    def make(name: str, module: nn.Module | None = None, **card: Any) -> Path:
        path = export(module or Elsewhere(unet()), tmp_path / name)
        return describe(path, **card)

    return make


@pytest.fixture
def elsewhere() -> Elsewhere:
    """A network that is not of this package, and sees 22 voxels."""
    return Elsewhere(unet())
