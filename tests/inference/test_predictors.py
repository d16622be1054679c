"""What is checked of a model before the first chunk."""

import pytest
from torch import nn

import neuroconn.network
from neuroconn.config.infer import InferSettings
from neuroconn.errors import HaloError
from neuroconn.inference.predictors import check_model
from neuroconn.network import UNet


class Loaded:
    """A model as ``load_model`` gives it."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network


def with_instance_norm() -> UNet:
    network = UNet(levels=1, width=2)
    network.bottom[1] = nn.InstanceNorm3d(4)
    return network


@pytest.mark.parametrize("exact", [False, True])
def test_norms_that_see_the_whole_tile_are_refused(
    monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    network = with_instance_norm().eval()
    monkeypatch.setattr(neuroconn.network, "load_model", lambda _: Loaded(network))

    with pytest.raises(HaloError, match="InstanceNorm"):
        check_model("any", (64, 64, 64), InferSettings(exact=exact))


def test_exact_mode_wants_the_whole_receptive_field(monkeypatch: pytest.MonkeyPatch) -> None:
    network = UNet(levels=3, width=2).eval()
    monkeypatch.setattr(neuroconn.network, "load_model", lambda _: Loaded(network))

    check_model("any", (64, 64, 64), InferSettings(exact=True, halo=48))
    with pytest.raises(HaloError, match="48"):
        check_model("any", (64, 64, 64), InferSettings(exact=True, halo=40))
