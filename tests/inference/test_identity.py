"""An identity is the same for the same run, differs by name otherwise, and survives JSON."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.config.infer import EvidenceRules
from neuroconn.inference.identity import differences, digest, run_identity

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
fields = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), values, max_size=4)


@given(given=fields)
@settings(max_examples=60, deadline=None)
def test_an_identity_survives_json_and_a_second_pass(given: dict[str, object]) -> None:
    identity = run_identity(**given)
    read = json.loads(json.dumps(identity))
    assert read == identity
    assert run_identity(**read) == identity
    assert digest(read) == digest(identity)
    assert differences(read, identity) == []


@given(a=fields, b=fields)
@settings(max_examples=60, deadline=None)
def test_digests_are_equal_where_there_are_no_differences(
    a: dict[str, object], b: dict[str, object]
) -> None:
    left, right = run_identity(**a), run_identity(**b)
    assert (digest(left) == digest(right)) == (not differences(left, right))


def test_the_order_of_fields_and_the_kind_of_number_do_not_matter() -> None:
    one = run_identity(a=1, b=(np.int64(2), np.float32(0.5)), c=np.array([1, 2]))
    two = run_identity(c=[1.0, 2.0], b=[2, 0.5], a=np.uint8(1))
    assert digest(one) == digest(two)


def test_settings_and_dataclasses_become_their_fields() -> None:
    @dataclass
    class Card:
        name: str
        size: tuple[int, int]

    identity = run_identity(rules=EvidenceRules(threshold=6), card=Card("unet", (1, 2)))
    assert identity["rules"]["threshold"] == 6
    assert identity["card"] == {"name": "unet", "size": [1, 2]}


def test_every_rule_is_part_of_the_identity() -> None:
    plain = run_identity(rules=EvidenceRules())
    for name in EvidenceRules.model_fields:
        assert name in plain["rules"]
    other = run_identity(rules=EvidenceRules(min_voxels=4))
    assert differences(plain, other) == ["rules.min_voxels: 3, now 4"]


def test_a_field_that_comes_or_goes_is_named() -> None:
    assert differences({"a": 1}, {"b": {"c": [1, 2]}}) == [
        "a: 1, now missing",
        "b.c: missing, now [1, 2]",
    ]


def test_true_and_one_are_not_the_same() -> None:
    assert digest({"a": True}) != digest({"a": 1})
    assert differences({"a": True}, {"a": 1}) == ["a: true, now 1"]


@pytest.mark.parametrize("value", [Path("/data/brain"), object(), {1, 2}, b"x"])
def test_paths_and_strange_values_have_no_place(value: object) -> None:
    with pytest.raises(TypeError, match="brain"):
        run_identity(brain=value)


@pytest.mark.parametrize("value", [float("nan"), [1.0, float("inf")]])
def test_numbers_must_be_finite(value: object) -> None:
    with pytest.raises(ValueError, match="finite"):
        run_identity(mean=value)
