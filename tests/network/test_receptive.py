"""What a network sees: computed from its architecture, and seen in its gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neuroconn.errors import HaloError
from neuroconn.network import ReceptiveField, UNet, check_exact, check_tiling, receptive_field
from neuroconn.network.receptive import Interval, back_through


def linear(levels: int, convolutions: int) -> UNet:
    """A network in which every path counts: positive weights, no ReLU, averages for maxima."""
    network = UNet(levels=levels, width=1, convolutions=convolutions, dropout=0.0).double().eval()
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for i, child in enumerate(module):
                if isinstance(child, nn.ReLU):
                    module[i] = nn.Identity()
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    network.pool = nn.AvgPool3d(2)  # type: ignore[assignment]
    return network


def support(network: UNet, first: int, last: int, size: int) -> tuple[int, int]:
    """First and last voxel along x that outputs ``first..last`` have a gradient to."""
    narrow = network.stride
    x = torch.zeros(1, 1, narrow, narrow, size, dtype=torch.float64, requires_grad=True)
    network.features(x)[..., first : last + 1].sum().backward()
    assert x.grad is not None
    seen = x.grad.abs().sum(dim=(0, 1, 2, 3)).nonzero()
    return int(seen[0]), int(seen[-1])


@pytest.mark.parametrize("convolutions", [1, 2])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_computed_reach_is_the_support_of_the_gradient(levels: int, convolutions: int) -> None:
    network = linear(levels, convolutions)
    field = receptive_field(UNet(levels=levels, width=1, convolutions=convolutions))
    start = field.halo + field.stride
    size = 2 * start + field.stride

    first, last = support(network, start, start + field.stride - 1, size)

    assert max(start - first, last - (start + field.stride - 1)) == field.halo_needed
    singles = [support(network, start + i, start + i, size) for i in range(field.stride)]
    assert max(b - a + 1 for a, b in singles) == field.width


@pytest.mark.parametrize(
    ("levels", "needed", "halo", "width"),
    [(2, 22, 24, 44), (3, 46, 48, 100), (4, 94, 96, 204), (5, 190, 192, 412)],
)
def test_halos_follow_six_times_the_stride(levels: int, needed: int, halo: int, width: int) -> None:
    with torch.device("meta"):
        network = UNet(levels=levels)

    assert receptive_field(network) == ReceptiveField(needed, halo, 2**levels, width)


def test_a_wider_core_needs_no_wider_halo() -> None:
    network = UNet(levels=3, width=1)
    field = receptive_field(network)

    wide = network.reach(Interval(0, 12 * field.stride - 1))

    assert max(-wide.first, wide.last - (12 * field.stride - 1)) == field.halo_needed


def test_each_kind_of_module_reaches_as_far_as_its_kernel() -> None:
    one = Interval(4, 7)
    dilated = nn.Conv3d(1, 1, 3, padding=2, dilation=2)

    assert back_through([dilated], one) == (2, 9)
    assert back_through([nn.MaxPool3d(2)], one) == (8, 15)
    assert back_through([nn.ConvTranspose3d(1, 1, 2, 2)], one) == (2, 3)
    assert back_through([nn.Upsample(scale_factor=2, mode="trilinear")], one) == (1, 4)
    assert back_through([nn.Sequential(dilated, nn.ReLU()), nn.MaxPool3d(2)], one) == (6, 17)


@pytest.mark.parametrize(
    "module", [nn.InstanceNorm3d(1), nn.GroupNorm(1, 1), nn.AdaptiveAvgPool3d(1)]
)
def test_what_mixes_the_whole_tile_has_no_reach(module: nn.Module) -> None:
    with pytest.raises(HaloError, match="no known reach"):
        back_through([module], Interval(0, 1))


@pytest.mark.parametrize(
    "norm",
    [nn.InstanceNorm3d(4), nn.GroupNorm(2, 4), nn.BatchNorm3d(4, track_running_stats=False)],
)
def test_tile_statistics_are_refused_in_exact_mode(norm: nn.Module) -> None:
    network = UNet(levels=1, width=4).eval()
    check_exact(network)
    network.encoders[0][1] = norm

    with pytest.raises(HaloError, match=r"encoders\.0\.1"):
        check_exact(network.eval())


def test_a_network_in_training_mode_is_refused() -> None:
    with pytest.raises(HaloError, match="eval"):
        check_exact(UNet(levels=1, width=1).train())


@given(st.integers(0, 40), st.integers(0, 12), st.booleans())
@settings(max_examples=200, deadline=None)
def test_tilings_pass_exactly_when_aligned_and_wide_enough(
    halo: int, chunk: int, exact: bool
) -> None:
    field = ReceptiveField(halo_needed=22, halo=24, stride=4, width=44)
    fits = halo % 4 == 0 and chunk % 4 == 0 and chunk > 0 and (halo >= 22 or not exact)

    if fits:
        check_tiling(field, (chunk, 8, 8), halo, exact=exact)
    else:
        with pytest.raises(HaloError):
            check_tiling(field, (chunk, 8, 8), halo, exact=exact)


def test_the_refusal_names_the_halo_to_set() -> None:
    field = ReceptiveField(halo_needed=94, halo=96, stride=16, width=204)

    with pytest.raises(HaloError, match=r"sees 94.*Set halo: 96 or more"):
        check_tiling(field, (128, 128, 128), 32, exact=True)
    with pytest.raises(HaloError, match=r"Set halo: 32 or 48"):
        check_tiling(field, (128, 128, 128), (32, 32, 40), exact=False)
