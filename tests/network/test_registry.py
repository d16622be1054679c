"""Networks by name, and the report's checkpoints."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from neuroconn.errors import ModelError
from neuroconn.network import (
    ModelCard,
    Network,
    Normalisation,
    UNet,
    architecture,
    build,
    from_architecture,
    from_report,
    load_model,
    read_state,
    save_model,
)


@pytest.mark.parametrize(
    "network",
    [UNet(levels=1, width=2), UNet(levels=2, width=3, head="sigmoid", clip=15, convolutions=1)],
)
def test_a_network_is_rebuilt_from_its_architecture(network: Network) -> None:
    twin = from_architecture(architecture(network))

    assert architecture(twin) == architecture(network)
    twin.load_state_dict(network.state_dict())


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ({"name": "vnet"}, "known: cenet, resunet, resunetpp, unet"),
        ({"levels": 3}, "does not name"),
        ({"name": "unet", "depth": 3}, "depth"),
        ({"name": "unet", "levels": 0}, "at least 1"),
    ],
)
def test_an_unknown_architecture_is_a_bad_model(
    description: dict[str, object], reason: str
) -> None:
    with pytest.raises(ModelError, match=reason):
        from_architecture(description)


def test_build_passes_arguments_on() -> None:
    assert build("unet", levels=1, width=2).stride == 2


class ReportBlock(nn.Module):
    """A block with the names of the report: every layer in one list, pooling first."""

    def __init__(self, before: int, after: int, pool: bool, up: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.MaxPool3d(2)] if pool else []
        for i in range(2):
            layers += [
                nn.Conv3d(before if i == 0 else after, after, 3, padding=1),
                nn.BatchNorm3d(after),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)
        if up:
            self.upsampling = nn.ConvTranspose3d(before, after, 2, 2)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        if skip is not None:
            x = torch.cat([skip, self.upsampling(x)], 1)
        y: Tensor = self.layers(x)
        return y


class ReportUNet(nn.Module):
    """The report's network, spelt out for two poolings and width 3."""

    def __init__(self) -> None:
        super().__init__()
        self.down_path = nn.ModuleList([ReportBlock(1, 3, False), ReportBlock(3, 6, True)])
        self.bottom = nn.ModuleList([ReportBlock(6, 12, True)])
        self.up_path = nn.ModuleList(
            [ReportBlock(12, 6, False, up=True), ReportBlock(6, 3, False, up=True)]
        )
        self.last_layer = nn.Conv3d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down_path[0](x)
        second = self.down_path[1](first)
        up = self.up_path[0](self.bottom[0](second), second)
        return torch.relu(self.last_layer(self.up_path[1](up, first)))


def test_a_checkpoint_of_the_report_predicts_as_it_did() -> None:
    torch.manual_seed(0)
    theirs = ReportUNet().eval()
    x = torch.randn(1, 1, 8, 8, 12)

    ours = from_report(theirs.state_dict())

    assert architecture(ours)["levels"] == 2
    assert architecture(ours)["width"] == 3
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("levels", "parameters"), [(3, 5_602_529), (4, 22_581_217), (5, 90_486_241)]
)
def test_the_sizes_of_the_report_are_told_from_a_checkpoint(levels: int, parameters: int) -> None:
    with torch.device("meta"):
        ours = UNet(levels=levels)
        state = report_names(ours)
        network = from_report(state)

    assert architecture(network) == architecture(ours)
    assert sum(p.numel() for p in network.parameters()) == parameters


def report_names(network: UNet) -> dict[str, Tensor]:
    """The state of a network of ours under the names of the report, poolings counted as layers."""
    top = network.levels - 1
    named = {}
    for key, value in network.state_dict().items():
        part, i, *rest = key.split(".")
        if part == "last":
            named[f"last_layer.{i}"] = value
        elif part == "ups":
            named[f"up_path.{top - int(i)}.upsampling.{rest[0]}"] = value
        elif part == "bottom":
            named[f"bottom.0.layers.{int(i) + 1}.{rest[0]}"] = value
        else:
            whole = "down_path" if part == "encoders" else "up_path"
            number = int(i) if part == "encoders" else top - int(i)
            pooled = part == "encoders" and number > 0
            named[f"{whole}.{number}.layers.{int(rest[0]) + pooled}.{rest[1]}"] = value
    return named


def test_a_checkpoint_file_of_the_report_becomes_a_model(tmp_path: Path) -> None:
    torch.manual_seed(2)
    theirs = ReportUNet().eval()
    path = tmp_path / "network_final.pth"
    state = {f"module.{k}": v for k, v in theirs.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 7, "optimizer": {"lr": 1e-3}}, path)

    network = from_report(read_state(path), clip=15)
    card = ModelCard(name="old", clip=15, normalisation=Normalisation(), spacing_um=(1, 1, 1))
    save_model(tmp_path / "model", network, card)

    x = torch.randn(1, 1, 8, 8, 12)
    with torch.inference_mode():
        torch.testing.assert_close(load_model(tmp_path / "model").network(x), theirs(x))


def test_a_bare_state_dict_is_a_checkpoint_too(tmp_path: Path) -> None:
    torch.save(ReportUNet().state_dict(), tmp_path / "m.pth")

    assert read_state(tmp_path / "m.pth").keys() == ReportUNet().state_dict().keys()


class Program:
    """Something that would run when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (Program(), "could run code"),
        ({"state_dict": {"epoch": 3}}, "holds no weights"),
        ([torch.zeros(1)], "holds a list"),
        (None, "cannot be read"),
        (b"no checkpoint", "damaged or not torch's|could run code"),
    ],
)
def test_what_is_no_checkpoint_is_one_line(
    tmp_path: Path, content: object, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)

    with pytest.raises(ModelError, match=reason) as caught:
        read_state(path)

    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_a_data_parallel_prefix_is_understood() -> None:
    state = {f"module.{k}": v for k, v in ReportUNet().state_dict().items()}

    assert from_report(state).levels == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.pop("last_layer.weight"), "lacks"),
        (lambda s: s.update(conv1=torch.zeros(1)), "'conv1' is no name"),
        (lambda s: s.update({"last_layer.bias": torch.zeros(2)}), "does not fit"),
        (
            lambda s: [s.pop(k) for k in list(s) if k.startswith("bottom.0.layers.4.")],
            "bottom.0 holds 3 layers",
        ),
        (lambda s: [s.pop(k) for k in list(s) if k.endswith("weight")], "lacks|no 3D convolution"),
        (
            lambda s: [s.pop(k) for k in list(s) if "path.0.layers" in k and "weight" in k],
            "no 3D convolution",
        ),
        (lambda s: s.update({"layer1.0.conv1.weight": torch.zeros(1)}), "encoder_weights"),
        (lambda s: s.update({"encoders.0.0.weight": torch.zeros(1)}), "of this package"),
        (lambda s: s.update({"down_path.7.layers.0.weight": torch.zeros(1)}), "holds|fit"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(change: object, reason: str) -> None:
    state = dict(ReportUNet().state_dict())
    change(state)  # type: ignore[operator]

    with pytest.raises(ModelError, match=reason):
        from_report(state)
