"""The U-Net: sizes, refusals, and work left out without changing the rest."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neuroconn.errors import HaloError
from neuroconn.network import UNet


def settled(seed: int = 0, **arguments: object) -> UNet:
    """A small network with the statistics of a batch, whose features vary."""
    torch.manual_seed(seed)
    network = UNet(**{"levels": 2, "width": 4, "dropout": 0, **arguments})  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 1.0
            nn.init.normal_(module.bias, std=0.2)
    with torch.no_grad():
        network.train()(torch.randn(2, network.in_channels, 16, 16, 16))
    return network.eval()


def cut(tensor: Tensor, trim: tuple[int, int, int]) -> Tensor:
    z, y, x = (slice(t, n - t) for t, n in zip(trim, tensor.shape[2:], strict=True))
    return tensor[:, :, z, y, x]


@pytest.mark.parametrize(("levels", "parameters"), [(3, 5_602_529), (4, 22_581_217)])
def test_parameters_are_as_many_as_in_the_report(levels: int, parameters: int) -> None:
    with torch.device("meta"):
        network = UNet(levels=levels)

    assert sum(p.numel() for p in network.parameters()) == parameters


def test_five_poolings_are_the_largest_network_of_the_report() -> None:
    with torch.device("meta"):
        network = UNet(levels=5)

    assert sum(p.numel() for p in network.parameters()) == 90_486_241
    assert network.stride == 32


@pytest.mark.parametrize("convolutions", [1, 2, 3])
def test_output_has_the_shape_of_the_input(convolutions: int) -> None:
    network = settled(convolutions=convolutions, in_channels=2)

    y = network(torch.randn(2, 2, 8, 12, 16))

    assert y.shape == (2, 1, 8, 12, 16)
    assert y.dtype == torch.float32


@pytest.mark.parametrize("shape", [(8, 8, 10), (7, 8, 8), (2, 8, 8)])
def test_a_side_off_the_pooling_grid_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(HaloError, match="multiple of 4"):
        settled()(torch.zeros(1, 1, *shape))


def test_distances_are_not_negative_and_gradients_flow_from_the_start() -> None:
    torch.manual_seed(1)
    network = UNet(levels=1, width=2)

    y = network(torch.randn(1, 1, 8, 8, 8))
    y.mean().backward()

    assert (y >= 0).all()
    assert all(p.grad is not None for p in network.parameters())
    assert network.last.weight.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_the_sigmoid_head_stays_below_the_clip() -> None:
    network = settled(head="sigmoid", clip=15.0)
    with torch.no_grad():
        network.last.weight.mul_(10)
        y = network(torch.randn(1, 1, 8, 8, 8))

    assert 0 <= y.min() < y.max() <= 15
    assert y.max() > 1


@given(
    trim=st.tuples(*[st.integers(0, 7)] * 3),
    levels=st.integers(1, 3),
    convolutions=st.integers(1, 2),
)
@settings(max_examples=25, deadline=None)
def test_trimmed_features_are_the_features_trimmed(
    trim: tuple[int, int, int], levels: int, convolutions: int
) -> None:
    network = settled(levels=levels, width=2, convolutions=convolutions)
    x = torch.randn(1, 1, 16, 16, 24, generator=torch.Generator().manual_seed(3))

    with torch.inference_mode():
        trimmed, whole = network.features(x, trim), network.features(x)

    assert whole.std() > 0.1
    torch.testing.assert_close(trimmed, cut(whole, trim), atol=1e-5, rtol=0)


def test_trimming_saves_work() -> None:
    network = settled(levels=2)
    sizes: list[int] = []
    network.decoders[0][0].register_forward_hook(lambda m, i, o: sizes.append(o.numel()))

    with torch.inference_mode():
        network.features(torch.zeros(1, 1, 32, 32, 32))
        network.features(torch.zeros(1, 1, 32, 32, 32), (8, 8, 8))

    assert sizes[1] / sizes[0] == pytest.approx((20 / 32) ** 3)


@pytest.mark.parametrize("trim", [(0, 0, 0), (8, 8, 8)])
def test_the_largest_activation_is_the_one_a_forward_makes(trim: tuple[int, int, int]) -> None:
    network = settled(levels=2)
    sizes: list[int] = []
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.register_forward_hook(lambda m, i, o: sizes.extend((i[0].numel(), o.numel())))
    with torch.inference_mode():
        network.features(torch.zeros(1, 1, 32, 24, 32), trim)

    assert network.activations((32, 24, 32), trim).largest == max(sizes)
    assert network.activations((32, 24, 32), trim).peak >= max(sizes)


def test_channels_last_changes_the_layout_and_not_the_answer() -> None:
    network = settled()
    x = torch.randn(2, 1, 8, 8, 8)

    with torch.inference_mode():
        plain = network(x)
        network.to(memory_format=torch.channels_last_3d)
        last = network(x.contiguous(memory_format=torch.channels_last_3d))

    torch.testing.assert_close(last, plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"levels": 0}, "levels"),
        ({"dropout": 1.0}, "dropout"),
        ({"head": "softmax"}, "head"),
        ({"clip": 0.0}, "clip"),
        ({"clip": float("inf")}, "clip"),
    ],
)
def test_an_impossible_network_is_refused(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        UNet(**arguments)  # type: ignore[arg-type]
