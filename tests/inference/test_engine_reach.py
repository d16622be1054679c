"""How far weights look in practice, against the same gradient taken voxel by voxel."""

import numpy as np
import pytest
import torch
from torch import nn

from neuroconn.errors import UsageError
from neuroconn.inference.engine.reach import SHARES, effective_radii, tile_side
from neuroconn.inference.engine.self_check import sample_tile
from neuroconn.network import Model, ModelCard, Normalisation, UNet, receptive_field

CARD = ModelCard(name="test", clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))


def model(levels: int = 1) -> Model:
    torch.manual_seed(0)
    network = UNet(levels=levels, width=4, dropout=0)
    nn.init.normal_(network.last.weight, std=0.3)
    return Model(network.eval().requires_grad_(False), CARD)


def by_changes(made: Model, tile: np.ndarray, voxel: tuple[int, int, int]) -> list[int]:  # type: ignore[type-arg]
    """The radii of one output voxel, by changing every voxel around it a little."""
    network = made.network.double()
    x = torch.from_numpy(tile).double()[None, None]
    places = list(np.ndindex(*tile.shape))
    changed = x.repeat(len(places), 1, 1, 1, 1)
    for i, place in enumerate(places):
        changed[(i, 0, *place)] += 1e-6
    with torch.inference_mode():
        answers = network(changed)[(slice(None), 0, *voxel)] - network(x)[(0, 0, *voxel)]
    weight = np.zeros(max(tile.shape))
    for place, answer in zip(places, answers.abs().tolist(), strict=True):
        weight[max(abs(a - b) for a, b in zip(place, voxel, strict=True))] += answer
    made.network.float()
    return [int(np.searchsorted(np.cumsum(weight) / weight.sum(), s)) for s in SHARES]


def test_the_radii_are_those_of_small_changes() -> None:
    made, tile = model(), sample_tile((10, 10, 10))

    found = effective_radii(made, tile, places=1)

    assert [r.share for r in found] == list(SHARES)
    assert [r.radius for r in found] == by_changes(made, tile, (5, 5, 5))


def test_no_radius_exceeds_the_receptive_field() -> None:
    made = model(levels=2)
    sees = receptive_field(made.network)
    side = tile_side(sees.halo, sees.stride)

    radii = [r.radius for r in effective_radii(made, sample_tile((side, side, side)))]

    assert side == 2 * sees.halo + sees.stride
    assert radii == sorted(radii)
    assert 0 < radii[-1] <= sees.halo_needed + sees.stride


def test_large_fields_are_measured_on_a_tile_that_fits() -> None:
    assert tile_side(192, 32) == 128
    assert tile_side(96, 16) == 128


def test_a_network_that_looks_at_nothing_has_no_radius() -> None:
    made = model()
    nn.init.zeros_(made.network.output_layer.weight)

    with pytest.raises(UsageError, match="not trained"):
        effective_radii(made, sample_tile((10, 10, 10)))
