"""MedicalNet's encoder: its size, its shortcuts, its strides, and its weights from a file."""

from pathlib import Path

import pytest
import torch
from settled import image, settled
from torch import Tensor, nn
from torch.nn import functional

from neuroconn.config.network import NetworkSettings
from neuroconn.errors import ModelError
from neuroconn.network import CENet, ResUNet, UNet, from_settings, load_medicalnet
from neuroconn.network.residual import ResidualEncoder, Subsample

BLOCKS = {10: [1, 1, 1, 1], 18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3]}


def published_names(depth: int, width: int, shortcut: str) -> dict[str, Tensor]:
    """A state dict with the names and shapes MedicalNet documents, and random weights."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (width, 1, 7, 7, 7)}
    norms = {"bn1": width}
    expansion = 4 if depth >= 50 else 1
    before = width
    for stage, count in enumerate(BLOCKS[depth]):
        inner = width * 2**stage
        for number in range(count):
            name = f"layer{stage + 1}.{number}"
            if depth >= 50:
                sides = [(inner, before, 1), (inner, inner, 3), (4 * inner, inner, 1)]
            else:
                sides = [(inner, before, 3), (inner, inner, 3)]
            for i, (out, into, kernel) in enumerate(sides, 1):
                shapes[f"{name}.conv{i}.weight"] = (out, into, kernel, kernel, kernel)
                norms[f"{name}.bn{i}"] = out
            after = inner * expansion
            if number == 0 and shortcut == "B" and (stage > 0 or before != after):
                shapes[f"{name}.downsample.0.weight"] = (after, before, 1, 1, 1)
                norms[f"{name}.downsample.1"] = after
            before = after
    random = torch.Generator().manual_seed(7)
    state = {key: torch.randn(shape, generator=random) / 9 for key, shape in shapes.items()}
    for name, channels in norms.items():
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.{part}"] = torch.rand(channels, generator=random) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(5)
    return state


def saved(path: Path, state: dict[str, Tensor], **more: object) -> Path:
    """As MedicalNet saves it: wrapped, and with the prefix of data-parallel training."""
    prefixed = {f"module.{key}": value for key, value in state.items()}
    torch.save({"state_dict": {**prefixed, **more}, "epoch": 3}, path)
    return path


@pytest.mark.parametrize(
    ("depth", "shortcut", "entries", "parameters"),
    [(34, "A", 198, 63_295_808), (34, "B", 216, 63_469_632)],
)
def test_sizes_are_those_of_medicalnet(
    depth: int, shortcut: str, entries: int, parameters: int
) -> None:
    with torch.device("meta"):
        encoder = ResidualEncoder(depth, 64, shortcut)  # type: ignore[arg-type]

    assert len(encoder.state_dict()) == entries
    assert sum(p.numel() for p in encoder.parameters()) == parameters


@pytest.mark.parametrize("shortcut", ["A", "B"])
@pytest.mark.parametrize("depth", BLOCKS)
def test_names_and_shapes_are_those_of_medicalnet(depth: int, shortcut: str) -> None:
    with torch.device("meta"):
        encoder = ResidualEncoder(depth, 64, shortcut)  # type: ignore[arg-type]

    published = published_names(depth, 64, shortcut)
    assert {k: v.shape for k, v in encoder.state_dict().items()} == {
        k: v.shape for k, v in published.items()
    }


@pytest.mark.parametrize(("depth", "shortcut"), [(10, "B"), (18, "A"), (34, "A"), (50, "B")])
def test_the_shortcut_is_the_one_a_depth_was_trained_with(depth: int, shortcut: str) -> None:
    assert ResidualEncoder(depth, 2).shortcut == shortcut


def test_shortcut_a_is_a_pooling_of_one_voxel_with_channels_of_zeros() -> None:
    x = torch.randn(2, 3, 4, 6, 8, requires_grad=True)

    y = Subsample(3, 5, 2)(x)

    assert torch.equal(y[:, :3], functional.avg_pool3d(x, kernel_size=1, stride=2))
    assert not y[:, 3:].any()
    y.sum().backward()
    assert x.grad is not None  # the published code takes .data here, and loses the gradient
    assert x.grad.sum() == y[:, :3].numel()
    assert x.grad[0, 0, 2, 4, 6] == 1
    assert x.grad[0, 0, 1, 4, 6] == 0


def test_stages_halve_and_dilate() -> None:
    encoder = ResidualEncoder(34, 2)

    stages = encoder(image(32, 64, 32))

    assert [tuple(s.shape[1:]) for s in stages] == [
        (2, 16, 32, 16),
        (4, 8, 16, 8),
        (8, 4, 8, 4),
        (16, 2, 4, 2),
    ]
    kept = sum(s.numel() for s in stages)
    assert encoder.kept == pytest.approx(kept / (32 * 64 * 32))
    dilations = {i: encoder.stages[i][-1].conv2.dilation[0] for i in range(4)}  # type: ignore[index]
    assert dilations == {0: 1, 1: 1, 2: 2, 3: 4}


def test_a_checkpoint_fills_the_whole_encoder_and_nothing_else(tmp_path: Path) -> None:
    state = published_names(18, 4, "A")
    path = saved(tmp_path / "resnet_18.pth", state, **{"module.conv_seg.0.weight": torch.ones(2)})
    network = ResUNet(depth=18, width=4)
    decoder = network.bottom[0].weight.clone()

    report = load_medicalnet(network, path)

    assert set(report.matched) == state.keys()
    assert report.missing == ()
    assert report.unexpected == ("conv_seg.0.weight",)
    for key, value in network.encoder.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert torch.equal(network.bottom[0].weight, decoder)


def test_settings_start_the_encoder_from_a_checkpoint(tmp_path: Path) -> None:
    state = published_names(10, 4, "B")
    path = saved(tmp_path / "resnet_10.pth", state)
    chosen = NetworkSettings.model_validate(
        {"name": "cenet", "depth": 10, "width": 4, "encoder_weights": str(path)}
    )

    network = from_settings(chosen, clip=10)

    assert isinstance(network, CENet)
    assert torch.equal(network.encoder.conv1.weight, state["conv1.weight"])


def test_normalisation_that_a_checkpoint_lacks_is_reported(tmp_path: Path) -> None:
    state = published_names(10, 2, "B")
    del state["bn1.num_batches_tracked"]

    report = load_medicalnet(ResUNet(depth=10, width=2), saved(tmp_path / "m.pth", state))

    assert report.missing == ("bn1.num_batches_tracked",)


def without(state: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if k != key}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (published_names(18, 4, "B"), r"lacks: layer2\.0\.downsample.*network\.shortcut: B"),
        (published_names(10, 4, "A"), r"no weights for layer1\.1\.conv1.*network\.depth"),
        (published_names(34, 4, "A"), r"lacks: layer1\.2\..*network\.depth"),
        (published_names(18, 2, "A"), r"another shape in conv1\.weight.*network\.width"),
        (without(published_names(18, 4, "A"), "layer4.1.conv2.weight"), r"layer4\.1\.conv2"),
        (
            {**published_names(18, 4, "A"), "bn1.bias": torch.full((4,), float("nan"))},
            "NaN or infinite: bn1.bias",
        ),
    ],
)
def test_a_checkpoint_of_another_encoder_changes_nothing(
    tmp_path: Path, state: dict[str, Tensor], reason: str
) -> None:
    network = ResUNet(depth=18, width=4)
    before = {k: v.clone() for k, v in network.state_dict().items()}

    with pytest.raises(ModelError, match=reason) as caught:
        load_medicalnet(network, saved(tmp_path / "m.pth", state))

    assert "\n" not in str(caught.value)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_shortcut_b_from_a_checkpoint_of_a_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pth", published_names(18, 4, "A"))

    with pytest.raises(ModelError, match=r"layer2\.0\.downsample\.0.*network\.shortcut: A"):
        load_medicalnet(ResUNet(depth=18, width=4, shortcut="B"), path)


def test_a_network_without_a_residual_encoder_takes_no_weights(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.pth", published_names(10, 2, "B"))

    with pytest.raises(ModelError, match="UNet has no residual encoder"):
        load_medicalnet(UNet(levels=1, width=2), path)


@pytest.mark.parametrize("depth", [10, 50])
def test_a_block_adds_its_shortcut_to_its_path(depth: int) -> None:
    network = settled("resunet" if depth == 10 else "resunet-50")
    assert isinstance(network, ResUNet)
    block = network.encoder.layer2[0]  # type: ignore[index]
    x = torch.randn(1, block.conv1.in_channels, 8, 8, 8)

    with torch.inference_mode():
        out = x
        for i in range(1, 3 if depth == 10 else 4):
            out = getattr(block, f"bn{i}")(getattr(block, f"conv{i}")(out))
            out = torch.relu(out) if i < (2 if depth == 10 else 3) else out
        expected = torch.relu(out + block.downsample(x))
        found = block(x.clone())

    assert isinstance(block.downsample, nn.Sequential)
    torch.testing.assert_close(found, expected)
