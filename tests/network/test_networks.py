"""What holds for every network in the registry."""

from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from settled import SMALL, image, settled
from torch import nn

from neuroconn.config.network import OPTIONS, NetworkSettings
from neuroconn.errors import HaloError, ModelError
from neuroconn.inference.engine.device import has_bfloat16
from neuroconn.inference.engine.folding import prepare
from neuroconn.inference.engine.torch_engine import Engine, sample_tile
from neuroconn.network import (
    Model,
    ModelCard,
    Network,
    Normalisation,
    architecture,
    from_architecture,
    from_settings,
    load_model,
    save_model,
)
from neuroconn.network.registry import NETWORKS

CARD = ModelCard(name="test", clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))
every = pytest.mark.parametrize("kind", SMALL)


@cache
def made(kind: str) -> Network:
    return settled(kind)


def test_every_network_is_tried_here_and_can_be_configured() -> None:
    assert {kind.split("-")[0] for kind in SMALL} == NETWORKS.keys() == OPTIONS.keys()


@every
def test_the_map_has_the_shape_of_the_image(kind: str) -> None:
    network = made(kind)
    n = network.stride

    with torch.inference_mode():
        y = network(torch.cat([image(n, 2 * n, 3 * n), image(n, 2 * n, 3 * n, seed=4)]))

    assert y.shape == (2, 1, n, 2 * n, 3 * n)
    assert y.dtype == torch.float32
    assert (y >= 0).all()
    assert y.std() > 1e-3


@every
def test_a_saved_network_is_rebuilt_and_predicts_the_same(kind: str, tmp_path: Path) -> None:
    network = made(kind)
    side = network.stride

    save_model(tmp_path, network, CARD)
    model = load_model(tmp_path)

    assert architecture(model.network) == architecture(network)
    with torch.inference_mode():
        assert torch.equal(model.network(image(side, side, side)), network(image(side, side, side)))


@every
def test_a_side_off_the_pooling_grid_is_refused(kind: str) -> None:
    n = made(kind).stride

    with pytest.raises(HaloError, match=f"multiple of {n}"):
        made(kind)(torch.zeros(1, 1, n, n, n + n // 2))


@every
def test_every_weight_learns(kind: str) -> None:
    network = settled(kind).requires_grad_(True).train()
    side = 2 * network.stride

    network(image(side, side, side)).mean().backward()

    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # What feeds straight into a normalisation over the batch has a bias that cancels out.
    assert [name for name in without if not name.endswith("bias")] == []
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@every
@given(trim=st.tuples(*[st.integers(0, 15)] * 3))
@settings(max_examples=5, deadline=None)
def test_trimmed_features_are_the_features_trimmed(kind: str, trim: tuple[int, int, int]) -> None:
    network, x = made(kind), image(32, 32, 64)

    with torch.inference_mode():
        trimmed, whole = network.features(x, trim), network.features(x)

    inner = [slice(t, n - t) for t, n in zip(trim, whole.shape[2:], strict=True)]
    assert whole.std() > 0.01
    torch.testing.assert_close(trimmed, whole[:, :, *inner], atol=1e-5, rtol=0)


@every
def test_no_tensor_is_larger_than_the_network_says(kind: str) -> None:
    network, sizes = made(kind), [0]
    hooks = [
        module.register_forward_hook(lambda m, i, o: sizes.append(max(i[0].numel(), o.numel())))
        for module in network.modules()
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d | nn.BatchNorm3d)
    ]
    with torch.inference_mode():
        for trim in ((0, 0, 0), (8, 8, 8)):
            sizes.clear()
            network.features(torch.zeros(1, 1, 32, 64, 32), trim)
            said = network.activations((32, 64, 32), trim)
            assert max(sizes) <= said.largest <= 1.1 * max(sizes)
            assert said.peak > said.largest
    for hook in hooks:
        hook.remove()


@every
def test_a_folded_network_predicts_the_same(kind: str) -> None:
    network, x = made(kind), image(32, 32, 64)

    fast = prepare(network, torch.float32, "cpu")
    with torch.inference_mode():
        folded = fast(x.contiguous(memory_format=torch.channels_last_3d))
        torch.testing.assert_close(folded, network(x), atol=1e-4, rtol=0)

    left = [n for n, m in fast.named_modules() if isinstance(m, nn.BatchNorm3d)]
    if kind == "resunetpp":
        # Normalisation before a ReLU before a convolution stays, that after a convolution does not.
        assert left
        assert not any(name.startswith("bridge") for name in left)
    else:
        assert left == []


@every
@pytest.mark.skipif(not has_bfloat16(), reason="this CPU computes in float32 only")
def test_half_precision_keeps_the_head_and_what_is_not_folded_in_float32(kind: str) -> None:
    network = prepare(made(kind), torch.bfloat16, "cpu")

    assert network.output_layer.weight.dtype == torch.float32
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            assert module.weight.dtype == module.running_var.dtype == torch.float32  # type: ignore[union-attr]
        elif isinstance(module, nn.Conv3d) and module is not network.output_layer:
            assert module.weight.dtype == torch.bfloat16


@every
@pytest.mark.parametrize("precision", ["float32", *(["bfloat16"] if has_bfloat16() else [])])
def test_an_engine_predicts_what_the_network_does(kind: str, precision: str) -> None:
    network, tile = made(kind), (64, 32, 64)
    engine = Engine(Model(network, CARD), device="cpu", precision=precision, tile=tile, trim=5)
    image = sample_tile(tile)

    found = engine.predict(image)

    with torch.inference_mode():
        expected = network(torch.from_numpy(image)[None, None])[0, 0, 5:-5, 5:-5, 5:-5]
    limit = 1e-4 if precision == "float32" else 0.2
    assert abs(torch.from_numpy(found) - expected).max() < limit


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("head", ["relu", "sigmoid"])
def test_settings_build_their_network(name: str, head: str) -> None:
    chosen = NetworkSettings.model_validate({"name": name, "width": 4, "head": head})

    network = from_settings(chosen, clip=15.0)

    described = architecture(network)
    assert (described["name"], described["width"], described["clip"]) == (name, 4, 15.0)
    assert network.stride == chosen.stride
    assert from_architecture(described).stride == chosen.stride
    with torch.no_grad():
        network.output_layer.weight.mul_(100)
        side = chosen.smallest if name != "unet" else 32
        y = network.eval()(image(side, side, side))
    assert (y >= 0).all()
    assert head == "relu" or (y <= 15).all()


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ({"name": "resunet", "depth": 26}, "depth must be one of 10, 18, 34, 50"),
        ({"name": "resunet", "shortcut": "C"}, "shortcut must be auto, A or B"),
        ({"name": "resunet", "width": 3}, "width must be even"),
        ({"name": "cenet", "pools": []}, "pools must be sides"),
        ({"name": "cenet", "width": 3}, "width must be even"),
        ({"name": "cenet", "levels": 3}, "levels"),
        ({"name": "resunetpp", "levels": 0}, "levels must lie"),
        ({"name": "resunetpp", "head": "softmax"}, "head must be"),
    ],
)
def test_an_impossible_network_is_a_bad_model(description: dict[str, object], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        from_architecture(description)


def test_weights_of_another_architecture_are_refused_in_one_line(tmp_path: Path) -> None:
    save_model(tmp_path, made("resunet"), CARD)
    card = tmp_path / "model.json"
    card.write_text(card.read_text().replace('"resunet"', '"cenet"').replace('"dropout": 0.0,', ""))
    card.write_text(card.read_text().replace('"convolutions": 2,', ""))

    with pytest.raises(ModelError, match=r"do not fit the architecture in their card") as caught:
        load_model(tmp_path)

    assert "\n" not in str(caught.value)
