"""Networks by name, and the report's checkpoints."""

import pytest
import torch
from torch import Tensor, nn

from neuroconn.errors import ModelError
from neuroconn.network import Network, UNet, architecture, build, from_architecture, from_report


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
        ({"name": "vnet"}, "known: unet"),
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
    ],
)
def test_a_checkpoint_of_something_else_is_refused(change: object, reason: str) -> None:
    state = dict(ReportUNet().state_dict())
    change(state)  # type: ignore[operator]

    with pytest.raises(ModelError, match=reason):
        from_report(state)
