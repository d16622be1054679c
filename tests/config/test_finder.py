"""Presets and sites: found by name or path, never in the working directory."""

from pathlib import Path

import pytest

from neuroconn.config import find_preset, find_site, list_presets, list_sites
from neuroconn.config.base import read_settings
from neuroconn.config.presets import folder
from neuroconn.config.train import TrainSettings
from neuroconn.errors import ConfigError


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's own presets and sites."""
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "mine.yaml").write_text("name: mine\n")
    (tmp_path / "lab.yaml").write_text("workers: 1\n")
    monkeypatch.setenv("NEUROCONN_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("NEUROCONN_CLUSTER_DIR", str(tmp_path))
    return tmp_path


def test_the_packaged_presets_are_there() -> None:
    found = list_presets()

    assert {"convert", "infer", "overlay", "train"} <= set(found)
    assert {"shipped", "unet-mse"} <= set(found["train"])
    assert all(names == sorted(names) for names in found.values())


def test_presets_of_one_command_are_listed_alone() -> None:
    assert set(list_presets("train")) == {"train"}
    assert list_presets("dance") == {}


def test_every_preset_that_is_listed_is_found() -> None:
    for command, names in list_presets().items():
        for name in names:
            assert find_preset(command, name).is_file()


@pytest.mark.parametrize("name", list_presets("train")["train"])
def test_every_preset_of_train_fits_its_schema_and_differs_from_it(name: str) -> None:
    settings = read_settings(TrainSettings, find_preset("train", name))

    assert settings.name == name


def test_every_site_that_is_listed_is_found() -> None:
    for name in list_sites():
        assert find_site(name).suffix == ".yaml"


def test_own_presets_come_first_and_beside_the_packaged_ones(own: Path) -> None:
    (own / "train" / "shipped.yaml").write_text("name: other\n")

    assert find_preset("train", "shipped") == own / "train" / "shipped.yaml"
    assert find_preset("train", "mine") == own / "train" / "mine.yaml"
    assert {"mine", "shipped", "unet-mse"} <= set(list_presets("train")["train"])


def test_own_sites_come_first(own: Path) -> None:
    assert find_site("lab") == own / "lab.yaml"
    assert "lab" in list_sites()


def test_a_stray_file_in_the_working_directory_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shipped.yaml").write_text("name: stray\n")
    (tmp_path / "configs" / "train").mkdir(parents=True)
    (tmp_path / "configs" / "train" / "shipped.yaml").write_text("name: stray\n")
    monkeypatch.chdir(tmp_path)

    assert find_preset("train", "shipped") == folder("configs") / "train" / "shipped.yaml"


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "this.yaml"
    path.write_text("")

    assert find_preset("train", str(path)) == path
    assert find_site(str(path)) == path


@pytest.mark.parametrize("name", ["nope", "..", "../train/shipped", "", "shipped ", "/nowhere"])
def test_a_preset_that_is_not_there_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_preset("train", name)

    assert "\n" not in str(caught.value)


def test_the_error_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"no train preset 'nope'; known: .*shipped.*unet-mse"):
        find_preset("train", "nope")
    with pytest.raises(ConfigError, match="no cluster site 'nope'"):
        find_site("nope")
    with pytest.raises(ConfigError, match="no site file"):
        find_site("./nope.yaml")
