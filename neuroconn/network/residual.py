"""The residual encoder of MedicalNet, at a finer resolution than it was trained for.

Names of layers and shapes of weights are MedicalNet's, so its checkpoints fit. Strides are not: the
stem keeps full resolution and the last two stages halve it, where the original halves in the stem
and dilates instead. A stride does not change the shape of a weight.

References
----------
.. [1] Chen, Ma and Zheng, "Med3D: transfer learning for 3D medical image analysis",
   arXiv:1904.00625.
.. [2] He et al., "Deep residual learning for image recognition", CVPR 2016; shortcuts A and B are
   those of its section 4.1.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from torch import Tensor, nn
from torch.nn import functional

from neuroconn.network.receptive import Interval, back_through

Depth: TypeAlias = Literal[10, 18, 34, 50]
Shortcut: TypeAlias = Literal["auto", "A", "B"]

BLOCKS: dict[int, tuple[int, int, int, int]] = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
}
"""Blocks of the four stages of each depth."""
PUBLISHED: dict[int, Literal["A", "B"]] = {10: "B", 18: "A", 34: "A", 50: "B"}
"""Shortcut that MedicalNet's weights of a depth were trained with."""

_STRIDES, _DILATIONS = (1, 2, 2, 2), (1, 1, 2, 4)


class Subsample(nn.Module):
    """Shortcut A: every ``stride``-th voxel, with channels of zeros behind.

    It has no weights. The gradient passes through it to the voxels that are kept.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.more, self.stride = after - before, stride

    def forward(self, x: Tensor) -> Tensor:
        """Subsample and pad (batch, channels, z, y, x)."""
        step = self.stride
        kept = x[:, :, ::step, ::step, ::step]
        return functional.pad(kept, (0, 0, 0, 0, 0, 0, 0, self.more))

    def back(self, output: Interval) -> Interval:
        """Input an output depends on."""
        return Interval(output.first * self.stride, output.last * self.stride)


class ResidualBlock(nn.Module):
    """What basic blocks and bottlenecks share: a path of convolutions beside a shortcut."""

    expansion: ClassVar[int] = 1
    folds: ClassVar[tuple[tuple[str, str], ...]] = (("conv1", "bn1"), ("conv2", "bn2"))
    """Convolutions, each with the normalisation that follows it."""

    def __init__(self, before: int, width: int, stride: int, shortcut: str) -> None:
        super().__init__()
        after = width * self.expansion
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride == 1 and before == after:
            return
        if shortcut == "A":
            self.downsample = Subsample(before, after, stride)
        else:
            self.downsample = nn.Sequential(
                nn.Conv3d(before, after, 1, stride, bias=False), nn.BatchNorm3d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Add path and shortcut."""
        out, last = x, len(self.folds) - 1
        for i, (convolution, norm) in enumerate(self.folds):
            out = getattr(self, norm)(getattr(self, convolution)(out))
            if i < last:
                out = self.relu(out)
        out += x if self.downsample is None else self.downsample(x)
        activated: Tensor = self.relu(out)
        return activated

    def back(self, output: Interval) -> Interval:
        """Input an output depends on, by either path."""
        seen = back_through([getattr(self, name) for name, _ in self.folds], output)
        beside = [] if self.downsample is None else [self.downsample]
        return seen.hull(back_through(beside, output))


class BasicBlock(ResidualBlock):
    """Two convolutions 3x3x3, of depths 10 to 34."""

    def __init__(self, before: int, width: int, stride: int, dilation: int, shortcut: str) -> None:
        super().__init__(before, width, stride, shortcut)
        self.conv1 = _convolution(before, width, stride, dilation)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = _convolution(width, width, 1, dilation)
        self.bn2 = nn.BatchNorm3d(width)


class Bottleneck(ResidualBlock):
    """A convolution 3x3x3 between two 1x1x1, of depth 50."""

    expansion = 4
    folds = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))

    def __init__(self, before: int, width: int, stride: int, dilation: int, shortcut: str) -> None:
        super().__init__(before, width, stride, shortcut)
        after = width * self.expansion
        self.conv1 = nn.Conv3d(before, width, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = _convolution(width, width, stride, dilation)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = nn.Conv3d(width, after, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(after)


class ResidualEncoder(nn.Module):
    """Features of a volume at a half, a quarter, an eighth and a sixteenth of its resolution.

    Parameters
    ----------
    depth : {10, 18, 34, 50}, optional
        Layers.
    width : int, optional
        Channels of the stem; the stages have 1, 2, 4 and 8 times as many, and with depth 50 four
        times that. 64 is MedicalNet's.
    shortcut : {"auto", "A", "B"}, optional
        How a block is bypassed where its size changes; ``auto`` is MedicalNet's for the depth.
    """

    folds: ClassVar[tuple[tuple[str, str], ...]] = (("conv1", "bn1"),)

    def __init__(self, depth: int = 34, width: int = 64, shortcut: Shortcut = "auto") -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise ValueError(f"depth must be one of {', '.join(map(str, BLOCKS))}, got {depth}")
        if shortcut not in ("auto", "A", "B"):
            raise ValueError(f"shortcut must be auto, A or B, got {shortcut!r}")
        self.depth, self.width = depth, width
        self.shortcut = PUBLISHED[depth] if shortcut == "auto" else shortcut
        block: type[BasicBlock | Bottleneck] = Bottleneck if depth >= 50 else BasicBlock
        self.expansion = block.expansion
        self.conv1 = nn.Conv3d(1, width, 7, padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d(3, 2, 1)
        before = width
        for i, (count, stride, dilation) in enumerate(
            zip(BLOCKS[depth], _STRIDES, _DILATIONS, strict=True)
        ):
            blocks = []
            for number in range(count):
                step = stride if number == 0 else 1
                blocks.append(block(before, width * 2**i, step, dilation, self.shortcut))
                before = width * 2**i * block.expansion
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self._start()

    @property
    def channels(self) -> list[int]:
        """Channels of the four stages."""
        return [self.width * 2**i * self.expansion for i in range(4)]

    @property
    def stages(self) -> list[nn.Module]:
        """The four stages, finest first."""
        return [getattr(self, f"layer{i}") for i in range(1, 5)]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Output of the four stages, finest first, of an image (batch, 1, z, y, x)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        out = []
        for stage in self.stages:
            x = stage(x)
            out.append(x)
        return out

    def back(self, outputs: list[Interval]) -> Interval:
        """Input voxels that parts of the four stages' outputs depend on."""
        *finer, seen = outputs
        for stage, also in zip(reversed(self.stages), [*reversed(finer), None], strict=True):
            seen = back_through([stage], seen)
            seen = seen if also is None else seen.hull(also)
        return back_through([self.conv1, self.maxpool], seen)

    def activations(self, voxels: int) -> tuple[int, int]:
        """Elements of its largest tensor and at its peak, of a tile of so many voxels.

        The stem is at full resolution, and its pooled output beside it at the end. In the first
        stage a block's input, its path and its shortcut are alive at half resolution.
        """
        stem = self.width * voxels
        half = self.width * self.expansion * voxels // 8
        return stem, max(stem + stem // 8, 4 * half)

    @property
    def kept(self) -> float:
        """Elements of its four outputs together, per voxel of the tile."""
        return float(sum(c / 8.0 ** (i + 1) for i, c in enumerate(self.channels)))

    def _start(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")


def _convolution(before: int, after: int, stride: int, dilation: int) -> nn.Conv3d:
    return nn.Conv3d(before, after, 3, stride, padding=dilation, dilation=dilation, bias=False)
