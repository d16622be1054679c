"""How far a model sees, measured from outside, against what its layers say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuroconn.errors import HaloError
from neuroconn.network import check_tiling, load_model, receptive_field

Made = Callable[..., Path]


class Steps(nn.Module):
    """Layers, and a bright line that is near whatever they say."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.relu(9 - 4 * x + 0.05 * self.layers(x))
        return out


def convolution(size: int, **more: Any) -> nn.Module:
    return nn.Conv3d(1, 1, size, padding=(size - 1) * more.get("dilation", 1) // 2, **more)


CASES = [
    ((convolution(3),), 1, 1),
    ((convolution(3), nn.ReLU(), convolution(5)), 1, 3),
    ((convolution(3, dilation=4),), 1, 4),
    ((nn.AvgPool3d(2), convolution(3), nn.Upsample(scale_factor=2)), 2, 2),
    ((nn.Conv3d(1, 1, (7, 1, 1), padding=(3, 0, 0)),), 1, 3),
    ((nn.Conv3d(1, 1, (1, 1, 9), padding=(0, 0, 4)),), 1, 4),
    ((nn.ConstantPad3d((0, 0, 0, 0, 3, 0), 0.0), nn.Conv3d(1, 1, (4, 1, 1))), 1, 3),  # below only
    ((nn.ConstantPad3d((0, 0, 0, 5, 0, 0), 0.0), nn.Conv3d(1, 1, (1, 6, 1))), 1, 5),  # above only
]


@pytest.mark.parametrize("name", ["m.pt", "m.onnx"])
@pytest.mark.parametrize(("layers", "stride", "needed"), CASES)
def test_the_measured_reach_is_that_of_the_layers(
    made: Made, name: str, layers: Any, stride: int, needed: int
) -> None:
    network = load_model(made(name, Steps(*layers), stride=stride)).network

    assert receptive_field(network).halo_needed == needed


@pytest.mark.parametrize("name", ["m.pt", "m.onnx"])
def test_a_network_with_poolings_and_skips_is_measured_too(
    made: Made, name: str, elsewhere: Any
) -> None:
    """Maxima pass one voxel on, so a few images may miss the outermost: rounded up, they do not."""
    sees = receptive_field(load_model(made(name, elsewhere)).network)

    assert sees.halo == receptive_field(elsewhere.network).halo == 24


@pytest.mark.parametrize("name", ["m.pt", "m.onnx"])
def test_a_model_that_normalises_over_its_tile_has_no_halo(made: Made, name: str) -> None:
    network = load_model(made(name, Steps(nn.InstanceNorm3d(1)), stride=1)).network

    with pytest.raises(HaloError, match="whole tile"):
        receptive_field(network)


def test_exact_tiling_asks_for_what_was_measured(made: Made, elsewhere: Any) -> None:
    sees = receptive_field(load_model(made("m.pt", elsewhere)).network)

    check_tiling(sees, (32, 32, 32), 24, exact=True)
    with pytest.raises(HaloError, match="Set halo: 24"):
        check_tiling(sees, (32, 32, 32), 20, exact=True)
