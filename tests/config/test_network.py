"""Settings of a network: defaults of its own, nothing foreign, and what follows without torch."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.config import parse_assignments, resolve
from neuroconn.config.network import OPTIONS, NetworkSettings
from neuroconn.config.train import TrainSettings
from neuroconn.errors import ConfigError
from neuroconn.network import build


def train(*assignments: str) -> TrainSettings:
    return resolve(TrainSettings, parse_assignments(assignments))


@pytest.mark.parametrize("name", OPTIONS)
def test_defaults_are_those_of_the_class(name: str) -> None:
    chosen = NetworkSettings.model_validate({"name": name})
    arguments = chosen.arguments()

    described = build(arguments.pop("name")).architecture()

    for key, value in arguments.items():
        if value != "auto":
            assert described[key] == (list(value) if isinstance(value, tuple) else value), key


@pytest.mark.parametrize("name", OPTIONS)
def test_settings_written_down_are_read_again(name: str) -> None:
    chosen = NetworkSettings.model_validate({"name": name, "width": 8})

    plain = chosen.model_dump(mode="json")

    assert None not in plain.values()
    assert NetworkSettings.model_validate(plain) == chosen
    assert NetworkSettings.model_validate_json(chosen.model_dump_json()) == chosen


def test_one_setting_is_changed_on_the_command_line() -> None:
    assert train("network.levels=3").network.levels == 3
    assert train("network.name=cenet", "network.pools=[2, 4]").network.pools == (2, 4)
    assert train("network.name=resunet").network.arguments() == {
        "name": "resunet",
        "depth": 34,
        "width": 64,
        "shortcut": "auto",
        "convolutions": 2,
        "dropout": 0.1,
        "head": "relu",
    }


@pytest.mark.parametrize(
    ("assignments", "reason"),
    [
        (["network.name=resunet", "network.levels=3"], r"resunet takes no levels \(it takes depth"),
        (["network.encoder_weights=m.pth"], "unet takes no encoder_weights"),
        (["network.name=vnet"], "'unet', 'resunet', 'resunetpp' or 'cenet'"),
        (["network.widht=3"], r"unknown key 'network.widht' \(known: name, levels"),
        (["network.levels=9"], "network.levels"),
        (["network.name=cenet", "network.pools=[1]"], "sides from 2 to 16"),
        (["network.name=[]"], "network.name"),
        (["crop=100"], "crop of 100 voxels does not fit network unet, which pools by 16"),
        (["network.name=resunet", "crop=32"], "needs 64 at least: take 64 or 96"),
        (["network.name=resunet", "crop=112"], "take 96 or 128"),
        (["network.name=cenet", "crop=16"], "needs 32 at least: take 32 or 48"),
        (["network.name=resunetpp", "crop=8"], "needs 16 at least: take 16 or 24"),
    ],
)
def test_what_a_network_does_not_take_is_refused(assignments: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        train(*assignments)


@given(st.sampled_from(sorted(OPTIONS)), st.integers(8, 300), st.integers(1, 6))
def test_a_crop_that_is_refused_comes_with_two_that_fit(name: str, side: int, levels: int) -> None:
    more = {"levels": levels} if "levels" in OPTIONS[name] else {}
    chosen = NetworkSettings.model_validate({"name": name, **more})

    try:
        chosen.check_crop(side)
    except ValueError as error:
        offered = str(error).split("take ")[1].split(" or ")
        for other in offered:
            chosen.check_crop(int(other))
    else:
        assert side % chosen.stride == 0


def test_pooling_grids_are_known_without_torch() -> None:
    program = (
        "import sys; from neuroconn.config.train import TrainSettings as T;"
        "assert T(crop=96, network={'name': 'resunet'}).network.stride == 32;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_grid_is_that_of_the_network(name: str) -> None:
    chosen = NetworkSettings.model_validate({"name": name, "width": 2})

    assert build(**chosen.arguments()).stride == chosen.stride
    assert chosen.smallest % chosen.stride == 0
