"""The two context modules of CE-Net, against their definitions spelt out."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from neuroconn.network.context import DilatedContext, PooledContext
from neuroconn.network.receptive import Interval


def test_dilated_context_is_the_sum_of_its_published_branches() -> None:
    torch.manual_seed(0)
    module = DilatedContext(3).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(1, 3, 12, 12, 12, dtype=torch.float64)

    def convolve(layer: torch.nn.Conv3d, x: Tensor, dilation: int) -> Tensor:
        pad = dilation if layer.kernel_size[0] == 3 else 0
        return functional.conv3d(x, layer.weight, layer.bias, padding=pad, dilation=dilation)

    def branch(*dilations: int, mixed: bool = True) -> Tensor:
        y = x
        for n in dilations:
            y = convolve({1: module.d1, 3: module.d3, 5: module.d5}[n], y, n)
        return (convolve(module.mix, y, 1) if mixed else y).relu()

    expected = x + branch(1, mixed=False) + branch(3) + branch(1, 3) + branch(1, 3, 5)
    torch.testing.assert_close(module(x), expected)


def test_its_biases_start_at_nothing_and_it_sees_nine_cells() -> None:
    module = DilatedContext(2)

    assert not any(p.any() for n, p in module.named_parameters() if n.endswith("bias"))
    assert module.back(Interval(0, 0)) == (-9, 9)


def pooled_by_hand(module: PooledContext, x: Tensor, side: int) -> Tensor:
    """The maximum of each cell, mixed, and interpolated between the middles of cells."""
    n = x.shape[-1]
    count = -(-n // side)
    cells = torch.stack(
        [x[..., i * side : (i + 1) * side].amax(dim=(2, 3, 4)) for i in range(count)], dim=-1
    )
    values = torch.einsum("oc,bcn->bon", module.one.weight.flatten(1), cells)
    values = values + module.one.bias[:, None]  # type: ignore[index]
    out = []
    for i in range(n):
        where = min(max((i + 0.5) / side - 0.5, 0), count - 1)
        low, high = int(where), min(int(where) + 1, count - 1)
        out.append(values[..., low] + (where - low) * (values[..., high] - values[..., low]))
    return torch.stack(out, dim=-1)


@pytest.mark.parametrize("n", [1, 4, 6, 7, 12, 30])
def test_pooled_context_is_the_maxima_of_cells_in_their_places(n: int) -> None:
    torch.manual_seed(1)
    module = PooledContext(3).double()
    x = torch.randn(1, 3, 2, 2, n, dtype=torch.float64)

    y = module(x)

    assert y.shape == (1, 7, 2, 2, n)
    assert torch.equal(y[:, 4:], x)
    for channel, side in enumerate((2, 3, 5, 6)):
        expected = pooled_by_hand(module, x, side)
        torch.testing.assert_close(y[:, channel : channel + 1, 0, 0], expected)


def test_where_sides_are_multiples_of_the_cells_it_is_the_original() -> None:
    torch.manual_seed(2)
    module, x = PooledContext(2), torch.randn(1, 2, 30, 30, 30)

    y = module(x)

    for channel, side in enumerate((2, 3, 5, 6)):
        small = module.one(functional.max_pool3d(x, side, side))
        large = functional.interpolate(small, size=(30, 30, 30), mode="trilinear")
        torch.testing.assert_close(y[:, channel : channel + 1], large)
