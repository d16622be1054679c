"""Strict YAML, strict schemas, overrides."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from neuroconn.config import Settings, load_yaml, parse_assignments, resolve
from neuroconn.config.base import read_settings
from neuroconn.errors import ConfigError


class Inner(Settings):
    rate: float = Field(1.0, gt=0)
    """How fast."""
    names: tuple[str, ...] = ()
    """Of whom."""


class Outer(Settings):
    inner: Inner = Inner()
    """Nested."""
    count: int = Field(3, ge=1)
    """How many."""


names = st.text("abcxyz", min_size=1, max_size=3)
plain = st.integers() | st.booleans() | st.text("abc xyz", max_size=6)
trees = st.recursive(plain, lambda inner: st.dictionaries(names, inner, max_size=3), max_leaves=8)
mappings = st.dictionaries(names, trees, max_size=3)


def merged(*layers: dict[str, Any]) -> dict[str, Any]:
    """What a schema that takes anything is given."""

    class Anything(Settings):
        model_config = {"extra": "allow"}  # noqa: RUF012

    return resolve(Anything, *layers).model_dump()


def over(low: Any, high: Any) -> Any:
    """The slow twin of a merge, which makes new mappings only."""
    if not (isinstance(low, dict) and isinstance(high, dict)):
        return copy.deepcopy(high)
    return {k: over(low.get(k), high[k]) if k in high else low[k] for k in {**low, **high}}


@given(mappings)
def test_yaml_that_was_written_is_read(tree: dict[str, Any]) -> None:
    assert load_yaml(yaml.safe_dump(tree)) == tree


@given(mappings, mappings)
def test_later_layers_win_and_mappings_merge(low: dict[str, Any], high: dict[str, Any]) -> None:
    assert merged(low, high) == over(low, high)


@given(mappings, mappings)
def test_layers_are_left_as_they_were(low: dict[str, Any], high: dict[str, Any]) -> None:
    before = copy.deepcopy((low, high))

    merged(low, high)

    assert (low, high) == before


def test_merging_does_not_reach_into_a_nested_mapping_of_a_layer() -> None:
    low: dict[str, Any] = {"a": {"b": {"c": 1}}}

    merged(low, {"a": {"b": {"d": 2}}})

    assert low == {"a": {"b": {"c": 1}}}


def test_an_empty_text_is_an_empty_mapping() -> None:
    assert load_yaml("") == load_yaml("# nothing but a comment\n") == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: 1\na: 2\n", r"key 'a' is given twice \(line 2\)"),
        ("a:\n  b: 1\n  b: 2\n", r"key 'b' is given twice \(line 3\)"),
        ("a: &x 1\nb: *x\n", r"aliases are not allowed \(line 2\)"),
        ("- 1\n- 2\n", "must be a mapping"),
        ("just text", "must be a mapping"),
        ("1: one\n", "must be a mapping of names"),
        ("a: [1, 2\n", "is not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "is not valid YAML"),
        ("base: {x: 1}\nb:\n  <<: {y: 2}\n", "is not valid YAML"),
        ("? [1, 2]\n: 3\n", "is not valid YAML"),
        ("a: \x00", "is not valid YAML"),
        ("[" * 5000, "is not valid YAML"),
    ],
)
def test_yaml_that_would_mislead_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        load_yaml(text, source="brain.yaml")

    assert str(caught.value).startswith("brain.yaml")
    assert "\n" not in str(caught.value)


def test_assignments_become_a_tree_of_yaml_values() -> None:
    found = parse_assignments(["a.b=1", "a.c=[1, 2]", "d=null", "e=x=y", "a.b=2", "f=1.0e-3"])

    assert found == {"a": {"b": 2, "c": [1, 2]}, "d": None, "e": "x=y", "f": 1e-3}


@pytest.mark.parametrize("wrong", ["a", "=1", "a=[1", "a=*x", ""])
def test_assignments_that_are_none_are_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        parse_assignments([wrong])


def test_a_value_has_no_parts_to_set() -> None:
    with pytest.raises(ConfigError, match="'a' already has a plain value"):
        parse_assignments(["a=1", "a.b=2"])


def test_settings_start_from_their_defaults() -> None:
    assert resolve(Outer) == Outer()
    assert resolve(Outer, {"inner": {"rate": 2}}, {"inner": {"names": ["x"]}}) == Outer(
        inner=Inner(rate=2.0, names=("x",))
    )


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        ({"cuont": 3}, r"unknown key 'cuont' \(known: inner, count\)"),
        ({"inner": {"rat": 3}}, r"unknown key 'inner\.rat' \(known: rate, names\)"),
        ({"count": 0}, r"count: .*greater than or equal to 1 \(got 0\)"),
        ({"inner": {"rate": "fast"}}, r"inner\.rate: .*\(got 'fast'\)"),
        ({"inner": 3}, r"inner: .*\(got 3\)"),
        ({"inner": {"rate": float("inf")}}, r"inner\.rate: .*finite"),
        ({"inner": {"rate": float("nan")}}, r"inner\.rate: "),
    ],
)
def test_an_error_names_the_key_and_the_reason(layer: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        resolve(Outer, layer, source="outer.yaml")

    assert str(caught.value).startswith("outer.yaml: ")
    assert "\n" not in str(caught.value)


def test_all_wrong_keys_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"count.*; .*what|what.*; .*count"):
        resolve(Outer, {"count": 0, "what": 1})


def test_settings_are_values() -> None:
    settings = Outer()

    with pytest.raises(ValueError, match="frozen"):
        settings.count = 4
    assert hash(settings) == hash(Outer())


def test_a_file_is_read_and_overridden(tmp_path: Path) -> None:
    path = tmp_path / "outer.yaml"
    path.write_text("count: 5\ninner:\n  rate: 2\n")

    found = read_settings(Outer, path, "inner.rate=4", "inner.names=[x, y]")

    assert found == Outer(count=5, inner=Inner(rate=4.0, names=("x", "y")))


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")

    for path in (tmp_path / "none.yaml", tmp_path, binary):
        with pytest.raises(ConfigError, match="cannot read"):
            read_settings(Outer, path)


def test_a_misspelt_key_in_a_list_is_answered_with_the_keys_of_its_items() -> None:
    class Lists(Settings):
        items: tuple[Inner, ...] = ()
        """Many."""

    with pytest.raises(ConfigError, match=r"unknown key 'items\.0\.rat' \(known: rate, names\)"):
        resolve(Lists, {"items": [{"rat": 1}]})
