"""Whether a folder holds the run that is asked for."""

from collections.abc import Callable
from typing import Any

import pytest

from neuroconn.config.train import TrainSettings
from neuroconn.errors import OutputError
from neuroconn.training.identity import FREE, check_same_run

Settings = Callable[..., TrainSettings]


def stored(settings: TrainSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json")


def test_the_same_settings_are_the_same_run(tiny: Settings) -> None:
    check_same_run(stored(tiny()), tiny(), "run")


def test_what_changes_nothing_of_what_is_learnt_may_differ(tiny: Settings) -> None:
    other = tiny(checkpoint_every=5, pictures_every=9, workers=3, tensorboard=None)

    assert set(FREE) <= set(TrainSettings.model_fields)
    check_same_run(stored(tiny()), other, "run")


def test_settings_that_differ_are_named_to_the_last_key(tiny: Settings) -> None:
    other = tiny(batch=4, network={"width": 4}, volumes={"edge": 24})

    with pytest.raises(OutputError, match=r"another batch, network.width, volumes.edge:"):
        check_same_run(stored(tiny()), other, "run")


def test_a_run_may_be_made_longer_if_its_rate_does_not_mind(tiny: Settings) -> None:
    check_same_run(stored(tiny()), tiny(iterations=70), "run")


@pytest.mark.parametrize("optimiser", [{"schedule": "cosine"}, {"cooldown": 0.2}])
def test_a_run_whose_rate_depends_on_its_end_may_not(
    tiny: Settings, optimiser: dict[str, Any]
) -> None:
    before, after = tiny(optimiser=optimiser), tiny(optimiser=optimiser, iterations=70)

    with pytest.raises(OutputError, match=r"7 iterations, whose learning rate depends .* with 70"):
        check_same_run(stored(before), after, "run")


def test_a_run_from_before_a_setting_existed_has_its_default(tiny: Settings) -> None:
    old = stored(tiny())
    del old["accumulate"], old["initial"]

    check_same_run(old, tiny(), "run")
    with pytest.raises(OutputError, match="another accumulate"):
        check_same_run(old, tiny(accumulate=2), "run")
