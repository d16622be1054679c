"""Half precision on the CPU, where a kernel is deeper than its input."""

import copy

import pytest
import torch
from torch import Tensor, nn

from neuroconn.training.shallow import guard_shallow


def gradient(conv: nn.Conv3d, x: Tensor, *, half: bool) -> Tensor:
    conv.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        y = conv(x)
    y.float().square().sum().backward()
    assert conv.weight.grad is not None
    return conv.weight.grad.clone()


@pytest.mark.parametrize(
    ("kernel", "depth"), [(3, 1), (3, 2), (3, 3), (5, 2), (5, 3), (5, 4), (5, 5)]
)
def test_gradients_are_those_of_full_precision(kernel: int, depth: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv3d(16, 16, kernel, padding=kernel // 2).to(memory_format=torch.channels_last_3d)
    x = torch.randn(2, 16, depth, 4, 4).contiguous(memory_format=torch.channels_last_3d)
    expected = gradient(copy.deepcopy(conv), x, half=False)
    guard_shallow(conv)

    for _ in range(3):
        # What the memory allocator hands out next is full of NaN, as it may be in a long run.
        for size in (10**3, 10**4, 10**5, 10**6):
            del_me = torch.full((size,), torch.nan)
            del del_me
        found = gradient(conv, x, half=True)

        assert float((found - expected).norm() / expected.norm()) < 0.02


def test_deeper_inputs_stay_in_half_precision() -> None:
    conv = nn.Conv3d(1, 1, 3, padding=1)
    guard_shallow(conv)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert conv(torch.zeros(1, 1, 3, 3, 3)).dtype == torch.bfloat16
        assert conv(torch.zeros(1, 1, 2, 3, 3)).dtype == torch.float32
        assert torch.is_autocast_enabled("cpu")


def test_an_error_leaves_autocast_as_it_was() -> None:
    conv = nn.Conv3d(1, 1, 3, padding=1)
    guard_shallow(conv)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(RuntimeError, match="channels"):
            conv(torch.zeros(1, 5, 2, 3, 3))
        assert torch.is_autocast_enabled("cpu")


def test_a_copy_is_guarded_too() -> None:
    conv = nn.Conv3d(1, 1, 3, padding=1)
    guard_shallow(conv)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert copy.deepcopy(conv)(torch.zeros(1, 1, 2, 3, 3)).dtype == torch.float32
