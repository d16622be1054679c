"""The engine: the network's own answer, faster, for tiles that fit together to the whole."""

import threading
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from neuroconn.errors import HaloError, UsageError
from neuroconn.geometry import ZYX
from neuroconn.inference.engine import device as engine_device
from neuroconn.inference.engine import folding as engine_prepare
from neuroconn.inference.engine.torch_engine import (
    Engine,
    NonFiniteOutputError,
    choose,
    sample_tile,
)
from neuroconn.network import Constants, Model, ModelCard, Normalisation, UNet, receptive_field

CARD = ModelCard(name="test", clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))
TILE = (16, 24, 16)
HALVES = [p for p in ("bfloat16",) if engine_device.has_bfloat16()]


def small(levels: int = 2, width: int = 4, seed: int = 0, head: str = "relu") -> Model:
    """A network with the statistics of a tile, whose distances vary from voxel to voxel."""
    torch.manual_seed(seed)
    network = UNet(levels=levels, width=width, dropout=0, head=head)  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    with torch.no_grad():
        network.train()(torch.from_numpy(sample_tile((16, 16, 16)))[None, None])
    nn.init.normal_(network.last.weight, std=0.3)
    return Model(network.eval(), CARD)


def plain(model: Model, tile: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        out: NDArray[np.float32] = model.network(torch.from_numpy(tile)[None, None])[0, 0].numpy()
    return out


@pytest.mark.parametrize("head", ["relu", "sigmoid"])
def test_float32_is_the_network_itself(head: str) -> None:
    model, tile = small(head=head), sample_tile(TILE)

    found = Engine(model, device="cpu", precision="fp32", tile=TILE).predict(tile)

    assert found.dtype == np.float32
    np.testing.assert_allclose(found, plain(model, tile), atol=1e-5)


@pytest.mark.parametrize("precision", HALVES)
def test_half_precision_stays_within_the_stored_step(precision: str) -> None:
    model, tile = small(levels=3, width=8), sample_tile((32, 32, 32))

    found = Engine(model, device="cpu", precision=precision, tile=(32, 32, 32)).predict(tile)

    assert 0 < np.abs(found - plain(model, tile)).max() < 0.04


@pytest.mark.parametrize("precision", HALVES)
def test_the_head_is_not_rounded_to_half_precision(precision: str) -> None:
    model = small()
    nn.init.constant_(model.network.output_layer.bias, 9.0)  # type: ignore[arg-type]
    engine = Engine(model, device="cpu", precision=precision, tile=TILE)

    distances = engine.predict(sample_tile(TILE))

    assert engine._body.network.output_layer.weight.dtype == torch.float32
    # Between 8 and 16 bfloat16 has 16 numbers per voxel; a rounded output would have no more.
    assert np.unique(distances).size > 16 * np.ptp(distances) * 10


@given(seed=st.integers(0, 99), trim=st.tuples(*[st.integers(0, 7)] * 3))
@settings(max_examples=10, deadline=None)
def test_trimmed_output_is_the_output_trimmed(seed: int, trim: ZYX) -> None:
    model, tile = small(seed=seed), sample_tile(TILE)
    whole = Engine(model, device="cpu", precision="fp32", tile=TILE)
    trimmed = Engine(model, device="cpu", precision="fp32", tile=TILE, trim=trim)

    inner = tuple(slice(t, n - t) for t, n in zip(trim, TILE, strict=True))

    assert trimmed.predict(tile).shape == trimmed.shape
    np.testing.assert_allclose(trimmed.predict(tile), whole.predict(tile)[inner], atol=1e-5)


def stitched(model: Model, brain: NDArray[np.float32], core: int, halo: int, shift: int = 0):  # type: ignore[no-untyped-def]
    """Predict ``brain`` tile by tile, the slow obvious way; edges see zeros."""
    side = core + 2 * halo
    engine = Engine(model, device="cpu", precision="fp32", tile=(side,) * 3, trim=halo)
    padded = np.pad(brain, [(halo + shift, halo + core)] * 3)
    out = np.empty([n + core for n in brain.shape], np.float32)
    for z, y, x in product(*(range(0, n + shift, core) for n in brain.shape)):
        tile = padded[z : z + side, y : y + side, x : x + side]
        out[z : z + core, y : y + core, x : x + core] = engine.predict(tile)
    return out[tuple(slice(shift, shift + n) for n in brain.shape)]


def seam(levels: int, core: int, halo: int, shift: int = 0) -> float:
    """Largest difference between tiles and the whole padded brain."""
    model = small(levels=levels, width=2)
    brain = sample_tile((2 * core, core, core))
    pad = receptive_field(model.network).halo
    padded = np.pad(brain, pad)
    whole = plain(model, padded)[pad:-pad, pad:-pad, pad:-pad]
    return float(np.abs(stitched(model, brain, core, halo, shift) - whole).max())


@pytest.mark.parametrize(("levels", "core"), [(1, 16), (2, 16)])
def test_tiles_with_the_exact_halo_make_the_whole(levels: int, core: int) -> None:
    field = receptive_field(small(levels=levels).network)

    assert seam(levels, core, field.halo) <= 1e-5


def test_a_narrow_halo_leaves_a_seam_that_narrows_with_it() -> None:
    wide, narrow, none = (seam(2, 16, halo) for halo in (20, 8, 0))

    assert none > narrow > wide > 0
    assert wide < 1e-3


def test_tiles_off_the_pooling_grid_do_not_make_the_whole() -> None:
    assert seam(2, 16, 24, shift=2) > 1e-3


def test_a_shift_by_the_stride_shifts_the_output() -> None:
    model = small()
    brain = sample_tile((64, 64, 64))
    engine = Engine(model, device="cpu", precision="fp32", tile=(56, 56, 56), trim=24)

    first = engine.predict(brain[:56, :56, :56])
    second = engine.predict(brain[4:60, :56, :56])

    np.testing.assert_allclose(second[:-4], first[4:], atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float64", ">u2", "int32"])
def test_raw_grey_values_are_normalised_on_the_way(dtype: str) -> None:
    model, constants = small(), Constants("asinh", 10, 40, 3)
    raw = np.random.default_rng(0).integers(0, 120, TILE).astype(dtype)
    engine = Engine(model, device="cpu", precision="fp32", tile=TILE)

    found = engine.predict(raw, constants)

    np.testing.assert_allclose(found, engine.predict(constants.apply(raw)), atol=1e-5)


def test_views_and_read_only_arrays_are_taken_as_they_are() -> None:
    engine = Engine(small(), device="cpu", precision="fp32", tile=TILE)
    tile = sample_tile(TILE)
    backwards = tile[::-1].copy()[::-1]
    tile.flags.writeable = False

    np.testing.assert_array_equal(engine.predict(tile), engine.predict(backwards))


def test_the_same_tile_gives_the_same_bytes_also_from_threads() -> None:
    engine = Engine(small(), device="cpu", tile=TILE)
    tiles = [sample_tile(TILE) * factor for factor in (1, 2, 3)]
    alone = [engine.predict(tile) for tile in tiles]
    found: dict[int, NDArray[np.float32]] = {}

    threads = [
        threading.Thread(target=lambda i=i: found.update({i: engine.predict(tiles[i % 3])}))  # type: ignore[misc]
        for i in range(9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(np.array_equal(found[i], alone[i % 3]) for i in range(9))


def test_an_output_is_not_overwritten_by_the_next() -> None:
    engine = Engine(small(), device="cpu", tile=TILE)
    first = engine.predict(sample_tile(TILE))
    kept = first.copy()

    engine.predict(-sample_tile(TILE))

    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_non_finite_answer_is_an_error(value: float) -> None:
    tile = sample_tile(TILE)
    tile[3, 3, 3] = value

    with pytest.raises(NonFiniteOutputError, match="float32"):
        Engine(small(), device="cpu", precision="fp32", tile=TILE).predict(tile)


def test_minus_infinity_before_the_relu_is_not_mistaken_for_a_neurite() -> None:
    model = small()
    output = model.network.output_layer
    nn.init.constant_(output.weight, -1.0)
    features = model.network.features
    model.network.features = lambda x, trim=(0, 0, 0): features(x, trim) + float("inf")  # type: ignore[method-assign]
    engine = Engine(model, device="cpu", precision="fp32", tile=TILE)
    engine._body.network.features = model.network.features  # type: ignore[method-assign]

    with pytest.raises(NonFiniteOutputError):
        engine.predict(sample_tile(TILE))


def test_other_shapes_and_raw_values_alone_are_refused() -> None:
    engine = Engine(small(), device="cpu", tile=TILE)

    with pytest.raises(HaloError, match="made for"):
        engine.predict(np.zeros((16, 16, 16), np.float32))
    with pytest.raises(UsageError, match="without normalisation"):
        engine.predict(np.zeros(TILE, np.uint16))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"tile": (16, 18, 16)}, "multiple of 4"),
        ({"tile": TILE, "trim": 8}, "leaves nothing"),
        ({"tile": TILE, "trim": -1}, "leaves nothing"),
        ({"tile": (4096, 4096, 4096)}, "32-bit indexing"),
        ({"tile": TILE, "precision": "int8"}, "int8"),
        ({"tile": TILE, "device": "tpu"}, "tpu"),
    ],
)
def test_an_engine_that_cannot_work_is_not_made(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Engine(small(), **{"device": "cpu", **arguments})  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for what is not there")
def test_a_missing_gpu_is_named() -> None:
    with pytest.raises(UsageError, match="no GPU"):
        choose("cuda")
    assert choose("auto")[0] == "cpu"


def test_auto_takes_half_precision_only_where_the_cpu_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_device, "has_bfloat16", lambda: False)
    assert choose("cpu") == ("cpu", "float32")
    with pytest.raises(UsageError, match="not computed in hardware"):
        choose("cpu", "bf16")

    monkeypatch.setattr(engine_device, "has_bfloat16", lambda: True)
    assert choose("cpu", "auto") == ("cpu", "bfloat16")
    with pytest.raises(UsageError, match="not computed in hardware"):
        choose("cpu", "fp16")


def test_the_largest_tile_to_use_is_named_for_the_usual_network() -> None:
    with torch.device("meta"):
        network = UNet(levels=4, width=32)

    engine_device.check_size(network, (320, 320, 320), (0, 0, 0))
    with pytest.raises(HaloError, match="at most 320 voxels"):
        engine_device.check_size(network, (336, 336, 336), (0, 0, 0))


def test_the_self_check_measures_the_half_precision() -> None:
    assert Engine(small(), device="cpu", precision="fp32", tile=TILE).self_check() == 0
    for precision in HALVES:
        engine = Engine(small(), device="cpu", precision=precision, tile=TILE)
        assert 0 < engine.self_check() < 0.1
        with pytest.raises(UsageError, match="differs from float32"):
            engine.self_check(tolerance=1e-9)


def test_a_gpu_computes_in_the_most_accurate_half_precision_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for major, expected in [(6, "float32"), (7, "float16"), (9, "float16")]:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda m=major: (m, 0))
        assert choose() == ("cuda", expected)

    assert choose("cuda", "bf16") == ("cuda", "bfloat16")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 0))
    with pytest.raises(UsageError, match="not computed in hardware"):
        choose("cuda", "bf16")


@pytest.mark.skipif(not HALVES, reason="this CPU computes in float32 only")
def test_a_wrong_kernel_is_found_by_the_self_check(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(small(), device="cpu", precision="bfloat16", tile=TILE)
    features = engine._body.network.features
    monkeypatch.setattr(engine._body.network, "features", lambda x, trim: features(x, trim) * 1.5)

    with pytest.raises(UsageError, match="computes wrongly"):
        engine.self_check()


@pytest.mark.skipif(not HALVES, reason="this CPU computes in float32 only")
def test_a_network_that_rounding_sways_is_told_from_a_wrong_kernel(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def steep(factor: float) -> Engine:
        model = small()
        with torch.no_grad():
            model.network.output_layer.weight *= factor
        return Engine(model, device="cpu", precision="bfloat16", tile=TILE, check=False)

    plain = steep(1).self_check()
    assert not caplog.records
    factor = 0.1 / plain
    found = steep(3 * factor).self_check()

    assert found > 0.2
    assert "so sensitive is this network" in caplog.text
    with pytest.raises(UsageError, match="does not bear rounding"):
        steep(40 * factor).self_check()


def test_an_engine_leaves_its_model_as_it_was() -> None:
    model = small()
    before = {k: v.clone() for k, v in model.network.state_dict().items()}

    engine = Engine(model, device="cpu", tile=TILE)

    after = model.network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    kinds = {type(m) for m in engine._body.network.modules()}
    assert not kinds & {nn.BatchNorm3d, nn.Dropout3d}


@given(st.booleans(), st.booleans(), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_a_folded_convolution_does_what_both_did(bias: bool, affine: bool, seed: int) -> None:
    torch.manual_seed(seed)
    convolution, norm = nn.Conv3d(2, 3, 3, bias=bias), nn.BatchNorm3d(3, affine=affine).eval()
    nn.init.normal_(norm.running_mean)  # type: ignore[arg-type]
    nn.init.uniform_(norm.running_var, 0.1, 3.0)  # type: ignore[arg-type]
    x = torch.randn(1, 2, 5, 5, 5)

    with torch.no_grad():
        torch.testing.assert_close(
            engine_prepare.folded(convolution, norm)(x), norm(convolution(x)), atol=1e-5, rtol=1e-5
        )


def test_a_norm_without_a_convolution_before_it_is_kept() -> None:
    block = nn.Sequential(nn.BatchNorm3d(2), nn.Sequential(nn.Conv3d(2, 2, 1), nn.BatchNorm3d(2)))
    x = torch.randn(1, 2, 3, 3, 3)
    block.eval()
    with torch.no_grad():
        before = block(x)
        engine_prepare.fold(block)
        torch.testing.assert_close(block(x), before)

    assert isinstance(block[0], nn.BatchNorm3d)
    assert len(block[1]) == 1
