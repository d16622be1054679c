"""What a preset may say of its loss."""

from typing import Any

import pytest

from neuroconn.config import Settings, parse_assignments, resolve
from neuroconn.config.loss import LossSettings, TermSettings
from neuroconn.errors import ConfigError


class Preset(Settings):
    loss: LossSettings = LossSettings()
    """As in the settings of a run."""


def terms(*layers: dict[str, Any]) -> tuple[TermSettings, ...]:
    return resolve(Preset, *layers).loss.terms


def test_a_name_alone_is_one_term() -> None:
    assert terms() == terms({"loss": "mse"}) == (TermSettings(name="mse"),)
    assert terms({"loss": "huber"}) == (TermSettings(name="huber"),)


def test_terms_by_name_are_terms_in_a_list() -> None:
    by_name = {"mse": None, "l_conn": {"start": 4000, "options": {"window": 32}}}
    listed = [{"name": "mse"}, {"name": "l_conn", "start": 4000, "options": {"window": 32}}]

    assert terms({"loss": by_name}) == terms({"loss": {"terms": listed}})


def test_what_is_written_out_is_read_again() -> None:
    loss = LossSettings.model_validate({"mse": {}, "l_conn": {"weight": 2, "stop": 9}})

    assert LossSettings.model_validate(loss.model_dump(mode="json")) == loss


def test_one_number_of_a_preset_can_be_set() -> None:
    preset = {"loss": {"mse": {}, "l_conn": {"start": 4000}}}

    _, conn = terms(preset, parse_assignments(["loss.l_conn.options.window=32"]))
    _, late = terms(preset, parse_assignments(["loss.l_conn.start=9"]))
    (only,) = terms(preset | parse_assignments(["loss=huber"]))

    assert (conn.start, conn.options) == (4000, {"window": 32})
    assert late.start == 9
    assert only.name == "huber"


def test_a_term_takes_part_from_its_start_until_it_stops() -> None:
    term = TermSettings(name="mse", start=2, stop=4)

    assert [term.at(i) for i in range(6)] == [False, False, True, True, False, False]


@pytest.mark.parametrize(
    ("loss", "why"),
    [
        ("mes", r"loss\.terms\.0\.name: .*'mse'.*\(got 'mes'\)"),
        ({"l_con": {}}, r"'l_conn'.*\(got 'l_con'\)"),
        ({"mse": {"wieght": 1}}, r"unknown key 'loss\.terms\.0\.wieght' \(known: name, weight"),
        ({"mse": 1}, "mse must hold the settings of a term, such as weight or start"),
        ({"terms": [], "mse": {}}, r"unknown key 'loss\.mse'"),
        ({"terms": [{"name": "mse"}, {"name": "mse"}]}, "mse is given twice"),
        ({"terms": []}, "nothing to minimise at iteration 0"),
        ({"mse": {"weight": 0}}, "nothing to minimise at iteration 0"),
        ({"l_conn": {"start": 5}}, "nothing to minimise at iteration 0"),
        ({"mse": {"stop": 5}, "l_3d": {"start": 6}}, "nothing to minimise at iteration 5"),
        ({"mse": {"stop": 5, "start": 5}}, "mse stops at 5, before it starts at 5"),
        ({"mse": {"weight": -1}}, "weight: .*greater than or equal to 0"),
    ],
)
def test_a_loss_that_makes_no_sense_is_refused(loss: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        terms({"loss": loss})
