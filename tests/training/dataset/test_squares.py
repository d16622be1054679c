"""Distance maps stored as squares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.annotation import distance_map
from neuroconn.training.dataset.squares import code_type, decode, encode


@given(clip=st.floats(0.5, 40), seed=st.integers(0, 99), share=st.sampled_from([0, 1e-4, 0.01, 1]))
def test_a_map_comes_back_bit_for_bit(clip: float, seed: int, share: float) -> None:
    line = np.random.default_rng(seed).random((12, 20, 30)) < share
    distance = distance_map(line, clip=clip)

    back = decode(encode(distance, clip), clip)

    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, distance)


@pytest.mark.parametrize(("clip", "kind"), [(10.0, "uint8"), (15.9, "uint8"), (16.0, "uint16")])
def test_a_byte_is_enough_for_the_usual_clip(clip: float, kind: str) -> None:
    assert code_type(clip) == kind
