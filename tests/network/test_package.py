"""bioimage.io packages: folders and zips, versions 0.4 and 0.5, and what is refused of them."""

import copy
import hashlib
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroconn.errors import ModelError
from neuroconn.network import load_card, load_model
from neuroconn.network.rdf import card_fields
from neuroconn.network.rdf_processing import normalisation_of
from neuroconn.volume.statistics import intensity_statistics, pack_histogram

MEANING = {"clip": 10, "output": "distance"}
STATISTICS = {
    "min": 0,
    "max": 255,
    "percentiles": {"1": 10, "99": 210},
    "mad": 5,
    "mean": 60.0,
}


def new(sha256: str | None, **changes: Any) -> dict[str, Any]:
    """A description in version 0.5."""
    space = [
        {"type": "space", "id": a, "size": {"min": 8, "step": s}, "scale": m, "unit": "micrometer"}
        for a, s, m in (("z", 4, 2.0), ("y", 4, 1.0), ("x", 2, 1.0))
    ]
    whole = [{"type": "batch"}, {"type": "channel", "channel_names": ["raw"]}, *space]
    seen = [{**axis, "size": {"tensor_id": "raw", "axis_id": axis["id"]}} for axis in space]
    seen[0]["halo"] = 8
    return {
        "format_version": "0.5.4",
        "type": "model",
        "name": "axons",
        "license": "CC-BY-4.0",
        "inputs": [
            {
                "id": "raw",
                "axes": whole,
                "preprocessing": [
                    {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
                    {"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 100, "std": 100}},
                ],
            }
        ],
        "outputs": [{"id": "map", "axes": [*whole[:2], *seen]}],
        "weights": {"torchscript": {"source": "weights.pt", "sha256": sha256}},
        "config": {"neuroconn": MEANING},
        **changes,
    }


def old(sha256: str | None, **changes: Any) -> dict[str, Any]:
    """The same in version 0.4."""
    return {
        "format_version": "0.4.10",
        "type": "model",
        "name": "axons",
        "license": "CC-BY-4.0",
        "inputs": [
            {
                "name": "raw",
                "axes": "bczyx",
                "shape": {"min": [1, 1, 8, 8, 8], "step": [0, 0, 4, 4, 2]},
                "preprocessing": [
                    {
                        "name": "zero_mean_unit_variance",
                        "kwargs": {"mode": "fixed", "mean": [100], "std": [100], "axes": "zyx"},
                    }
                ],
            }
        ],
        "outputs": [{"name": "map", "axes": "bczyx", "halo": [0, 0, 8, 0, 0]}],
        "weights": {"torchscript": {"source": "./weights.pt", "sha256": sha256}},
        "config": {"neuroconn": {**MEANING, "spacing_um": [2.0, 1.0, 1.0]}},
        **changes,
    }


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    class Near(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(10 - 3 * x)

    path = tmp_path_factory.mktemp("weights") / "w.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(Near(), torch.rand(1, 1, 8, 8, 8)).save(path)  # type: ignore[no-untyped-call]
    return path.read_bytes()


def folder(path: Path, rdf: dict[str, Any], weights: bytes, name: str = "rdf.yaml") -> Path:
    path.mkdir()
    (path / name).write_text(json.dumps(rdf))
    (path / "weights.pt").write_bytes(weights)
    return path


def zipped(path: Path, rdf: dict[str, Any], weights: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bioimageio.yaml", json.dumps(rdf))
        archive.writestr("weights.pt", weights)
    return path


@pytest.mark.parametrize("version", [old, new])
def test_folder_zip_and_description_are_the_same_model(
    tmp_path: Path, weights: bytes, version: Any
) -> None:
    rdf = version(hashlib.sha256(weights).hexdigest())
    there = folder(tmp_path / "package", rdf, weights)
    packed = zipped(tmp_path / "package.zip", rdf, weights)

    cards = [load_card(p) for p in (there, there / "rdf.yaml", packed)]
    models = [load_model(p) for p in (there, packed)]

    card = cards[0]
    assert cards == [card] * 3
    assert card.spacing_um == (2.0, 1.0, 1.0)
    assert card.licence == "CC-BY-4.0"
    assert card.architecture["stride"] == 4
    assert card.architecture["margin"] == 8
    assert card.normalisation.constants({}).apply(np.array([200.0])) == 1
    x = torch.rand(1, 1, 8, 8, 8)
    for model in models:
        torch.testing.assert_close(model.network(x), torch.relu(10 - 3 * x))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["package", "package.zip"]


def test_both_versions_mean_the_same() -> None:
    assert card_fields(old("a" * 64))[0] == card_fields(new("a" * 64))[0]


@pytest.mark.parametrize(
    ("steps", "value"),
    [
        ([], 110.0),
        ([{"id": "scale_linear", "kwargs": {"gain": 0.5, "offset": -5}}], 50.0),
        ([{"id": "scale_range", "kwargs": {"min_percentile": 1, "max_percentile": 99}}], 0.5),
        ([{"name": "scale_range", "kwargs": {"mode": "per_sample", "axes": "zyx",
                                             "min_percentile": 1, "max_percentile": 99}}], 0.5),
    ],
)  # fmt: skip
def test_preprocessing_becomes_constants(steps: list[Any], value: float) -> None:
    constants = normalisation_of(steps).constants(STATISTICS)

    assert constants.apply(np.array([110.0]))[0] == pytest.approx(value)


def test_values_are_cut_only_where_the_package_says_so() -> None:
    ranged = {"id": "scale_range", "kwargs": {"min_percentile": 1, "max_percentile": 99}}
    clip = {"id": "clip", "kwargs": {"min": 0, "max": 1}}

    bright = np.array([410.0])
    assert normalisation_of([ranged]).constants(STATISTICS).apply(bright) == 2
    assert normalisation_of([ranged, clip]).constants(STATISTICS).apply(bright) == 1


def test_mean_and_deviation_are_those_of_the_brain() -> None:
    voxels = np.random.default_rng(0).integers(0, 250, 1000).astype(np.uint8)
    counts = np.bincount(voxels, minlength=256)
    statistics = {**intensity_statistics(counts), "histogram": pack_histogram(counts)}
    step = {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["channel", "z", "y", "x"]}}

    inputs = normalisation_of([step]).constants(statistics).apply(voxels)

    assert inputs.mean() == pytest.approx(0, abs=1e-5)
    assert inputs.std() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ({"id": "zero_mean_unit_variance", "kwargs": {"axes": ["y", "x"]}}, "plane of its tile"),
        ({"name": "scale_range", "kwargs": {"mode": "per_sample", "axes": "yx"}}, "plane"),
        ({"id": "scale_range", "kwargs": {"reference_tensor": "other"}}, "another tensor"),
        ({"id": "binarize", "kwargs": {"threshold": 3}}, "one pair of constants"),
        ({"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": [1, 2], "std": 1}}, "finite"),
        ({"id": "scale_linear", "kwargs": {"gain": 0}}, "not above 0"),
        ({"id": "clip", "kwargs": {"min": 0, "max": 1}}, "one pair of constants"),
    ],
)
def test_preprocessing_that_depends_on_the_tile_is_refused(step: Any, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        normalisation_of([step])


def changed(rdf: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    made = copy.deepcopy(rdf)
    inner: Any = made
    for key in path[:-1]:
        inner = inner[key]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return made


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("type",), "dataset", "describes a dataset"),
        (("format_version",), "0.3.2", "0.4 or 0.5"),
        (("config",), None, "where its distances are cut off"),
        (("config", "neuroconn", "clip"), -1, "neuroconn.clip"),
        (("config", "neuroconn", "what"), 1, "neuroconn.what"),
        (("inputs",), [], "0 inputs"),
        (("inputs", 0, "axes", 2, "id"), "t", "z, y, x are needed"),
        (("inputs", 0, "axes", 1, "channel_names"), ["a", "b"], "2 channels"),
        (("inputs", 0, "axes", 2, "size"), {"min": 9, "step": 4}, "no grid that starts at 0"),
        (("inputs", 0, "axes", 2, "size"), 64, "some axes only"),
        (("inputs", 0, "axes", 2, "size"), "all", "no size or step"),
        (("outputs", 0, "axes", 2, "halo"), -1, "halo of the output"),
        (("outputs", 0, "postprocessing"), [{"id": "sigmoid"}], "sigmoid"),
        (("weights",), {"pytorch_state_dict": {"source": "w.pt"}}, "pickled state dict"),
        (("inputs", 0, "axes", 2, "scale"), None, "micrometres"),
    ],
)
def test_descriptions_that_cannot_be_kept_are_refused(path: Any, value: Any, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        card_fields(changed(new("a" * 64), path, value))


def test_a_fixed_shape_is_the_only_tile() -> None:
    rdf = new("a" * 64)
    for axis, size in zip(rdf["inputs"][0]["axes"][2:], (32, 64, 64), strict=True):
        axis["size"] = size

    fields, _ = card_fields(rdf)

    assert fields["architecture"]["tile"] == (32, 64, 64)
    assert fields["architecture"]["stride"] == 1


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("https://zenodo.org/w.pt", "download the whole package"),
        ("../weights.pt", "outside the package"),
        ("/etc/passwd", "outside the package"),
        ("none.pt", "cannot be read"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_weights_come_from_inside_the_package(
    tmp_path: Path, weights: bytes, source: str, reason: str, packed: bool
) -> None:
    rdf = changed(new("a" * 64), ("weights", "torchscript", "source"), source)
    (tmp_path / "weights.pt").write_bytes(weights)
    make = (lambda: zipped(tmp_path / "p.zip", rdf, weights)) if packed else (
        lambda: folder(tmp_path / "p", rdf, weights)
    )  # fmt: skip

    with pytest.raises(ModelError, match=reason):
        load_model(make())


def test_a_link_out_of_the_package_is_not_followed(tmp_path: Path, weights: bytes) -> None:
    there = folder(tmp_path / "p", new("a" * 64), b"")
    (tmp_path / "secret").write_bytes(weights)
    (there / "weights.pt").unlink()
    (there / "weights.pt").symlink_to(tmp_path / "secret")

    with pytest.raises(ModelError, match="out of the package"):
        load_model(there)


def test_damaged_packages_are_one_line(tmp_path: Path, weights: bytes) -> None:
    digest = hashlib.sha256(weights).hexdigest()
    good = zipped(tmp_path / "good.zip", new(digest), weights)
    cases = {
        "short.zip": good.read_bytes()[:-40],
        "empty.zip": b"",
        "other.zip": b"PK garbage",
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ModelError, match=name):
            load_model(tmp_path / name)
    with pytest.raises(ModelError, match="SHA-256"):
        load_model(zipped(tmp_path / "other.zip", new("b" * 64), weights))
    with pytest.raises(ModelError, match=digest):
        load_card(zipped(tmp_path / "none.zip", new(None), weights))
    there = folder(tmp_path / "text", {}, weights)
    (there / "rdf.yaml").write_text("a: [")
    with pytest.raises(ModelError, match="not valid YAML"):
        load_card(there)


def test_a_member_larger_than_it_says_is_not_unpacked(
    tmp_path: Path, weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path / "p.zip", new("a" * 64), bytes(1 << 20))
    monkeypatch.setattr("neuroconn.network.package._MOST_WEIGHTS", 1000)

    with pytest.raises(ModelError, match="larger than"):
        load_model(path)
