"""One tile in torch: quantised on the device, in slabs when memory runs out, never otherwise."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuroconn.errors import UsageError
from neuroconn.geometry import ZYX
from neuroconn.inference.encoding import Encoding
from neuroconn.inference.engine import device as engine_device
from neuroconn.inference.engine.body import TorchBody, quantise, with_less_memory
from neuroconn.inference.engine.torch_engine import Engine, sample_tile
from neuroconn.network import Constants, Model, ModelCard, Normalisation, UNet

CARD = ModelCard(name="test", clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))
TILE = (48, 16, 24)
HALVES = ["float32", *(["bfloat16"] if engine_device.has_bfloat16() else [])]
ENCODINGS = [Encoding("uint8", 10.0), Encoding("uint16", 10.0), Encoding("float32", 7.5)]


def network(levels: int = 2, convolutions: int = 2, seed: int = 0) -> UNet:
    torch.manual_seed(seed)
    made = UNet(levels=levels, width=4, convolutions=convolutions, dropout=0)
    torch.nn.init.normal_(made.last.weight, std=0.3)
    return made.eval().requires_grad_(False)


class Starved(UNet):
    """Runs out of memory on anything thicker than it can take."""

    most = 10**9

    def features(self, x: Tensor, trim: ZYX = (0, 0, 0)) -> Tensor:
        self.take(x.shape[2])
        return super().features(x, trim)

    def slabs(
        self, x: Tensor, trim: ZYX = (0, 0, 0), planes: int | None = None
    ) -> Iterator[Tensor]:
        self.take(planes or x.shape[2])
        yield from super().slabs(x, trim, planes)

    def take(self, planes: int) -> None:
        if planes > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def starved_engine(most: int, precision: str = "float32", trim: int = 3) -> Engine:
    model = Model(network(), CARD)
    model.network.__class__ = Starved
    engine = Engine(model, device="cpu", precision=precision, tile=TILE, trim=trim, check=False)
    engine._body.network.most = most  # type: ignore[attr-defined]
    return engine


@given(
    levels=st.integers(1, 3),
    convolutions=st.integers(1, 3),
    trim=st.tuples(st.integers(0, 15), st.integers(0, 7), st.integers(0, 11)),
    planes=st.integers(1, 50),
    half=st.sampled_from(HALVES),
)
@settings(max_examples=25, deadline=None)
def test_slabs_are_the_whole_cut_in_pieces_bit_for_bit(
    levels: int, convolutions: int, trim: ZYX, planes: int, half: str
) -> None:
    dtype = engine_device.DTYPES[half]
    body = TorchBody(network(levels, convolutions), dtype, "cpu", TILE, trim)
    x = torch.from_numpy(sample_tile(TILE))[None, None]

    with torch.inference_mode():
        (whole,) = body.features(x)
        body.planes = planes
        slabs = list(body.features(x))

    assert all(slab.shape[2] <= planes for slab in slabs)
    assert torch.equal(torch.cat(slabs, dim=2), whole)


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("most", [47, 12, 8])
def test_a_tile_that_runs_out_of_memory_gives_the_same_bytes_in_slabs(
    precision: str, most: int
) -> None:
    raw = np.random.default_rng(0).integers(0, 900, TILE).astype(np.uint16)
    constants, encoding = Constants("asinh", 100, 50), ENCODINGS[1]
    expected = starved_engine(10**9, precision).predict_codes(raw, constants, encoding)
    starved = starved_engine(most, precision)

    found = [starved.predict_codes(raw, constants, encoding).codes for _ in range(2)]

    assert starved._body.planes is not None  # type: ignore[attr-defined]
    assert starved._body.planes <= most  # type: ignore[attr-defined]
    for codes in found:
        np.testing.assert_array_equal(codes, expected.codes)


def test_memory_that_is_short_in_the_smallest_slabs_too_is_one_clear_error() -> None:
    engine = starved_engine(2)

    with pytest.raises(UsageError, match=r"smallest slabs too.*smaller chunks"):
        engine.predict(sample_tile(TILE))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("std::bad_alloc"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_what_a_cpu_says_when_memory_is_short_is_understood(error: Exception) -> None:
    body, calls = TorchBody(network(), torch.float32, "cpu", TILE, (0, 0, 0)), []

    def work() -> str:
        calls.append(body.planes)
        if len(calls) < 3:
            raise error
        return "done"

    assert with_less_memory(body, work, TILE) == "done"
    assert calls == [None, 12, 8]


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    body, calls = TorchBody(network(), torch.float32, "cpu", TILE, (0, 0, 0)), []

    def work() -> None:
        calls.append(1)
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        with_less_memory(body, work, TILE)
    assert calls == [1]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: e.dtype)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_device_quantises_like_the_encoding(encoding: Encoding, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(5, 4, 500).astype(np.float32)
    # Halves are where two ways of rounding part.
    halves = ((np.arange(250) + 0.5) * np.float32(encoding.clip / 250)).astype(np.float32)
    distance = np.concatenate([values, halves, np.float32([0, -0.0, 10, 1e30])])

    codes = quantise(torch.from_numpy(distance), encoding).numpy()

    assert codes.dtype == encoding.dtype
    np.testing.assert_array_equal(codes, encoding.encode(distance))


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: e.dtype)
def test_codes_are_the_encoded_prediction(encoding: Encoding) -> None:
    engine = Engine(Model(network(), CARD), device="cpu", tile=TILE, trim=2)
    raw = np.random.default_rng(1).integers(0, 500, TILE).astype(np.uint16)
    constants = Constants("linear", 0, 400)

    coded = engine.predict_codes(raw, constants, encoding)

    assert coded.seconds > 0
    np.testing.assert_array_equal(coded.codes, encoding.encode(engine.predict(raw, constants)))
