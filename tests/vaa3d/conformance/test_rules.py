"""Each rule, broken on purpose, is found by its name."""

from pathlib import Path
from typing import Any

import broken_layouts
import broken_tiles  # noqa: F401 - registers its breaks
import pytest
from broken import BREAKS, Break

from neuroconn.vaa3d.conformance import RULES, check_vaa3d


@pytest.mark.parametrize(
    ("rule", "severity", "spoil"), BREAKS, ids=[f"{r}-{f.__name__}" for r, _, f in BREAKS]
)
def test_a_broken_rule_is_found_by_its_name(
    tree: Any, tiff: Any, rule: str, severity: str, spoil: Break
) -> None:
    spoil(tree, tiff)

    report = check_vaa3d(tree.root, threads=1)

    assert (rule, severity) in {(f.rule, f.severity) for f in report.findings}
    assert report.sound == (report.count("error") == 0)
    if severity == "error":
        assert not report.sound
    if (
        spoil is not broken_layouts.neither_table_nor_tile
    ):  # one fault, one rule, but where a fault has two sides
        graver = {f.rule for f in report.findings if f.severity == "error"} - {rule}
        assert len(graver) <= 2, report.findings


def test_every_rule_that_shows_without_decoding_is_broken_above() -> None:
    told = {rule for rule, _, _ in BREAKS} | {"tile.deep", "tile.thin"}

    assert {rule for rule in RULES if not rule.startswith("pixels.")} == told


def test_every_rule_is_in_the_documentation_as_it_is() -> None:
    page = (Path(__file__).parents[3] / "docs" / "check-vaa3d.md").read_text(encoding="utf-8")

    for name, rule in RULES.items():
        assert f"| `{name}` | {rule.severity} | {rule.why} | {rule.mend} |" in page
