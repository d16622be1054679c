"""The figures of docs/networks.md are those of the code."""

import re
from pathlib import Path

import networks_table
import pytest

from neuroconn.config import list_presets
from neuroconn.config.network import OPTIONS

PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("label", networks_table.ROWS)
def test_a_row_is_what_the_code_says(label: str) -> None:
    assert networks_table.row(label, networks_table.ROWS[label]) in PAGE.splitlines()


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_those_of_the_settings(name: str) -> None:
    (line,) = re.findall(rf"^\| `{name}` \| (.*`head`.*?) \| (.*) \|$", PAGE, re.MULTILINE)

    assert re.findall(r"`(\w+)`", line[0]) == list(OPTIONS[name])
    presets = list_presets("train")["train"]
    for named in re.findall(r"`([\w*-]+)`", line[1]):
        assert any(Path(preset).match(named) for preset in presets), named
