"""Reach and exact tiling of the networks with a residual encoder."""

from typing import Any

import pytest
import torch
from settled import image, settled
from torch import Tensor, nn
from torch.nn import functional

from neuroconn.errors import HaloError
from neuroconn.network import (
    Network,
    ReceptiveField,
    build,
    check_exact,
    check_tiling,
    receptive_field,
)
from neuroconn.network.receptive import Interval, back_through


def along_x(network: Network) -> Network:
    """The same layers along one axis alone, every path of which counts: no ReLU, no maximum."""
    network.double().eval()
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.Identity())
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            out, into, *_, size = module.weight.shape
            module.weight = nn.Parameter(torch.ones(out, into, 1, 1, size).double() / into)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
            module.stride, module.padding = (1, 1, module.stride[0]), (0, 0, module.padding[0])  # type: ignore[assignment]
            module.output_padding = (0, 0, module.output_padding[0])
    return network


def mean_pool(x: Tensor, side: int, stride: int | None = None, padding: int = 0, *_: Any) -> Tensor:
    """An average along x in place of a maximum."""
    row = x[:, :, :1, :1]
    return functional.avg_pool3d(row, (1, 1, side), (1, 1, stride or side), (0, 0, padding))


def support(network: Network, first: int, last: int, length: int) -> Interval:
    """First and last voxel of a row that outputs ``first..last`` have a gradient to."""
    x = torch.ones(1, 1, 1, 1, length, dtype=torch.float64, requires_grad=True)
    network.features(x)[..., first : last + 1].sum().backward()
    assert x.grad is not None
    seen = x.grad.flatten().nonzero()
    return Interval(int(seen[0]), int(seen[-1]))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("resunet", {"depth": 10, "width": 2, "convolutions": 1}),
        ("resunet", {"depth": 34, "width": 2}),
        ("resunet", {"depth": 50, "width": 2, "shortcut": "A"}),
        ("cenet", {"depth": 18, "width": 4}),
        ("cenet", {"depth": 10, "width": 4, "pools": (2,), "shortcut": "A"}),
    ],
)
def test_computed_reach_is_the_support_of_the_gradient(
    monkeypatch: pytest.MonkeyPatch, name: str, arguments: dict[str, Any]
) -> None:
    monkeypatch.setattr(functional, "max_pool3d", lambda *a, **k: mean_pool(*a[:4], *k.values()))
    original = build(name, **arguments)
    network = along_x(build(name, **arguments))
    field, grid = receptive_field(original), original.exact_grid
    start = (field.halo // grid + 1) * grid
    length = 2 * start + grid

    seen = support(network, start, start + grid - 1, length)

    assert seen == original.reach(Interval(start, start + grid - 1))
    assert max(start - seen.first, seen.last - (start + grid - 1)) == field.halo_needed
    assert field.halo - grid < field.halo_needed <= field.halo
    for i in range(start, start + grid, 13):
        assert support(network, i, i, length) == original.reach(Interval(i, i))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("resunet", {"width": 2}), ("cenet", {"width": 4, "pools": (2, 3)})],
)
def test_the_core_of_an_exact_tile_is_that_of_the_whole(kind: str, changes: dict[str, Any]) -> None:
    network = settled(kind, **changes)
    check_exact(network)
    field = receptive_field(network)
    grid = max(field.grid, field.stride)
    core = slice(field.halo + grid, field.halo + 2 * grid)
    whole = image(32, 32, 2 * field.halo + 3 * grid)

    def tile(halo: int, shift: int = 0) -> Tensor:
        """The core predicted from a tile, whose origin is ``shift`` off the grid."""
        first = core.start - halo - shift
        part = whole[..., first : core.stop + halo - shift]
        return network(part)[..., halo + shift : halo + shift + grid]

    with torch.inference_mode():
        # Random weights answer nearly the same everywhere: make it vary by about a voxel.
        network.output_layer.weight.div_(network(whole).std())
        expected = network(whole)[..., core]
        assert expected.std() > 0.1
        torch.testing.assert_close(tile(field.halo), expected, atol=1e-5, rtol=0)
        assert abs(tile(grid) - expected).max() > 1e-4, "a narrow halo is not exact"
        assert abs(tile(field.halo, 16) - expected).max() > 1e-3, "nor is a shift of half a cell"


@pytest.mark.parametrize(
    ("name", "arguments", "field"),
    [
        ("resunet", {"depth": 34}, ReceptiveField(710, 736, 32, 1437)),
        ("cenet", {"depth": 34}, ReceptiveField(822, 960, 16, 1725, 480)),
        ("cenet", {"depth": 10, "pools": (2, 4)}, ReceptiveField(342, 384, 16, 733, 64)),
    ],
)
def test_what_the_networks_of_the_report_see(
    name: str, arguments: dict[str, Any], field: ReceptiveField
) -> None:
    with torch.device("meta"):
        network = build(name, **arguments)

    assert receptive_field(network) == field


def test_cells_of_2_3_5_and_6_agree_on_a_grid_of_480_voxels_only() -> None:
    field = ReceptiveField(halo_needed=374, halo=480, stride=16, width=829, grid=480)

    check_tiling(field, (128, 128, 128), 32, exact=False)
    check_tiling(field, (480, 480, 480), 480, exact=True)
    with pytest.raises(HaloError, match=r"grid of exact tiles of 480.*multiple of 480"):
        check_tiling(field, (128, 128, 128), 480, exact=True)
    with pytest.raises(HaloError, match="Set halo: 0 or 480"):
        check_tiling(field, (480, 480, 480), 384, exact=True)


def test_squeeze_and_excitation_is_refused_in_exact_mode() -> None:
    network = settled("resunetpp")

    with pytest.raises(HaloError, match=r"excites\.0\.mean.*squeeze-and-excitation.*exact"):
        check_exact(network)
    with pytest.raises(HaloError, match="global pooling"):
        receptive_field(network)


def test_each_kind_of_step_reaches_as_far_as_its_kernel() -> None:
    one = Interval(4, 7)

    assert back_through([nn.Conv3d(1, 1, 3, stride=2, padding=1)], one) == (7, 15)
    assert back_through([nn.Conv3d(1, 1, 3, stride=2, padding=4, dilation=4)], one) == (4, 18)
    assert back_through([nn.MaxPool3d(3, 2, 1)], one) == (7, 15)
    up = nn.ConvTranspose3d(1, 1, 3, 2, padding=1, output_padding=1)
    assert back_through([up], one) == (2, 4)
    assert back_through([up], Interval(5, 5)) == (2, 3)
    assert back_through([up], Interval(4, 4)) == (2, 2)
    assert back_through([nn.Upsample(scale_factor=2, mode="nearest")], one) == (2, 3)
    assert back_through([nn.Upsample(scale_factor=3, mode="trilinear")], one) == (1, 2)
    assert back_through([nn.Upsample(scale_factor=3, mode="trilinear")], Interval(0, 8)) == (-1, 3)


@pytest.mark.parametrize("layer", [nn.Upsample(size=8), nn.Upsample(scale_factor=1.5)])
def test_an_upsampling_to_a_size_has_no_reach(layer: nn.Upsample) -> None:
    with pytest.raises(HaloError, match="no single reach"):
        back_through([layer], Interval(0, 1))
