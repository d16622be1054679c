"""Clicks into a brain and its overlays, from files."""

from pathlib import Path

import numpy as np
import pytest
from brains import brain_voxels, save_brain
from neurite import BOX, FRAME, NEURITE, SHAPE, Save, true_distance, wrong_distance

from neuroconn.annotation import Forest, render, write_swc
from neuroconn.config import find_preset
from neuroconn.config.base import read_settings
from neuroconn.config.overlay import OverlaySettings
from neuroconn.errors import AnnotationError, UsageError, VolumeError
from neuroconn.evaluation import Clicks, MarkerScores, evaluate_markers
from neuroconn.evaluation.displays import OPENINGS, Display, displays
from neuroconn.evaluation.marker_scores import Landed
from neuroconn.exporter import export, pair
from neuroconn.geometry import Box
from neuroconn.vaa3d.overlay import Window
from neuroconn.vaa3d.reader import TeraflyVolume
from neuroconn.vaa3d.shown import as_opened_directly, as_shown_by_terafly
from neuroconn.vaa3d.v3draw import open_v3draw

RAW = Display("raw", "terafly-16")
USUAL = Display("clip-6-power-2", "terafly-16")
FEW = Clicks(rays=120, margin=4, seed=3)


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_brain(tmp_path_factory.mktemp("brains") / "brain.ome.zarr", brain_voxels())


def test_the_true_map_makes_neurites_clickable(brain: Path, save: Save, swc: Path) -> None:
    scores = evaluate_markers(save(true_distance()), swc, brain, clicks=FEW, units="voxel")

    assert scores.rate(RAW) < 0.7
    assert scores.rate(USUAL) > 0.95
    gain, (low, high) = scores.gain(USUAL)
    assert low <= gain <= high
    assert low > 0.2
    assert scores.names == ["raw", "clip-10", "clip-6", "clip-6-power-2", "plain", "replace"]
    assert (scores.clicks, scores.unexplored, scores.views) == (120, 0, (BOX,))


def test_a_wrong_map_is_no_better_than_what_it_shows(brain: Path, save: Save, swc: Path) -> None:
    scores = evaluate_markers(save(wrong_distance()), swc, brain, clicks=FEW, units="voxel")

    alone, mixed = Display("replace", "terafly-16"), USUAL
    assert scores.rate(alone) < scores.rate(mixed) < 0.95
    assert scores.landed[alone].aim.max() > 3


def test_the_same_seed_gives_the_same_clicks(brain: Path, save: Save, swc: Path) -> None:
    words = {"presets": ["plain"], "units": "voxel"}
    first, again, other = (
        evaluate_markers(
            save(true_distance()), swc, brain, clicks=Clicks(rays=30, seed=s, margin=4), **words
        ).as_dict()
        for s in (1, 1, 2)
    )

    assert first == again
    assert first != other


def test_every_kind_of_truth_is_aimed_at(brain: Path, save: Save, swc: Path) -> None:
    from tifffile import imwrite

    labels = swc.parent / "labels.tif"
    imwrite(labels, render(NEURITE, BOX).astype(np.uint8))
    few = Clicks(rays=40, margin=4)
    map_ = save(true_distance())

    for truth in (labels, map_):
        scores = evaluate_markers(map_, truth, brain, presets=["replace"], clicks=few)
        assert scores.rate(Display("replace", "terafly-16")) > 0.9


def test_only_the_views_are_read(
    brain: Path, save: Save, swc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Box] = []
    whole = pair.Pair.volumes
    monkeypatch.setattr(
        pair.Pair, "volumes", lambda self, box: read.append(box) or whole(self, box)
    )
    small = Clicks(rays=31, views=4, view=24, margin=4)

    scores = evaluate_markers(
        save(true_distance()), swc, brain, presets=["plain"], clicks=small, units="voxel"
    )

    assert tuple(read) == scores.views
    assert len(read) == 4
    assert scores.clicks == 31
    assert {box.shape for box in read} == {(24, 24, 24)}
    assert all(Box.of_shape(SHAPE).contains(box) for box in read)


def test_clicks_in_views_land_where_they_land_in_the_whole(
    brain: Path, save: Save, swc: Path
) -> None:
    """Answers are judged in voxels of the brain, wherever the view begins."""
    small = Clicks(rays=60, views=6, view=24, margin=4)

    scores = evaluate_markers(
        save(true_distance()), swc, brain, presets=["replace"], clicks=small, units="voxel"
    )

    assert scores.rate(Display("replace", "terafly-16")) > 0.95
    assert scores.aimed(Display("replace", "terafly-16")) > 0.9


def test_aims_where_nobody_looked_are_counted(brain: Path, save: Save, swc: Path) -> None:
    distance = true_distance()
    distance[:, :, 35:] = np.nan

    scores = evaluate_markers(
        save(distance),
        swc,
        brain,
        presets=["replace"],
        clicks=FEW,
        unexplored="null",
        units="voxel",
    )

    assert 20 < scores.unexplored < 100
    assert scores.rate(Display("replace", "terafly-16")) < 1 - scores.unexplored / 120 + 0.1


@pytest.mark.parametrize("preset", ["clip-6-power-2", "replace"])
def test_what_is_clicked_is_what_an_export_holds(
    preset: str, brain: Path, save: Save, tmp_path: Path
) -> None:
    distance = true_distance()
    distance[:, 40:] = np.nan
    map_, settings = save(distance), read_settings(OverlaySettings, find_preset("overlay", preset))
    opened = pair.Pair(brain, map_, pair.Look(settings, "uint16", 65535, "raw"))

    shown = dict(displays(*opened.volumes(BOX), {preset: (settings, opened.window)}))

    for dtype, opening in (("uint16", "terafly-16"), ("uint8", "terafly-8")):
        export(brain, map_, tmp_path / dtype, settings=settings, dtype=dtype)
        tree = as_shown_by_terafly(TeraflyVolume(tmp_path / dtype).read(BOX))
        np.testing.assert_array_equal(tree, shown[Display(preset, opening)])
    export(brain, map_, tmp_path / "a.v3draw", format="v3draw", settings=settings)
    file = as_opened_directly(np.asarray(open_v3draw(tmp_path / "a.v3draw")[0]))
    np.testing.assert_array_equal(file, shown[Display(preset, "file-16")])


def test_a_brain_of_bytes_is_shown_as_it_is() -> None:
    raw = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)

    shown = dict(displays(raw, np.zeros(raw.shape), {"a": (OverlaySettings(), Window(0, 9))}))

    assert all(shown[Display("raw", opening)] is raw for opening in OPENINGS)
    assert {d.opening for d in shown if d.name == "a"} == set(OPENINGS)


def landed(*near: float) -> Landed:
    return Landed(np.array(near), np.array(near) + 1)


def test_rates_and_gains_are_counted_click_by_click() -> None:
    scores = MarkerScores(
        landed={
            RAW: landed(0, 5, np.inf, 2, 2.5),
            USUAL: landed(0, 1, 2, 2.01, np.inf),
            Display("clip-6-power-2", "terafly-8"): landed(0, 0, 0, 0, 0),
        },
        shape=SHAPE,
        views=(BOX,),
        unexplored=0,
    )

    assert (scores.rate(RAW), scores.rate(RAW, 3), scores.aimed(RAW)) == (0.4, 0.6, 0.4)
    assert scores.hits(USUAL).tolist() == [True, True, True, False, False]
    assert scores.gain(USUAL)[0] == pytest.approx(0.2)
    assert scores.gain(Display("clip-6-power-2", "terafly-8"))[0] == pytest.approx(0.6)
    assert scores.best == "clip-6-power-2"


def test_a_neurite_at_the_face_only_cannot_be_aimed_at(
    brain: Path, save: Save, tmp_path: Path
) -> None:
    write_swc(tmp_path / "face.swc", Forest([[1, 1, 1], [1, 50, 1]], [-1, 0]))

    with pytest.raises(AnnotationError, match="4 voxels inside"):
        evaluate_markers(
            save(true_distance()), tmp_path / "face.swc", brain, clicks=FEW, units="voxel"
        )


def test_what_does_not_fit_is_said_first(
    brain: Path, save: Save, swc: Path, caplog: pytest.LogCaptureFixture
) -> None:
    map_ = save(true_distance(), clip=8.0)

    with pytest.raises(UsageError, match="in colour"):
        evaluate_markers(map_, swc, brain, presets=["rgb"], units="voxel")
    with pytest.raises(UsageError, match="clip 10 is farther"):
        evaluate_markers(map_, swc, brain, presets=["clip-10"], units="voxel")
    with pytest.raises(UsageError, match="units"):
        evaluate_markers(map_, swc, brain)
    with pytest.raises(VolumeError, match="brain"):
        evaluate_markers(brain, swc, map_, units="voxel")
    scores = evaluate_markers(map_, swc, brain, clicks=Clicks(rays=5, margin=4), units="voxel")
    assert "clip-10" not in scores.names
    assert "without preset clip-10" in caplog.text


@pytest.mark.parametrize(
    "wrong", [{"rays": 0}, {"views": 0}, {"view": 9}, {"jitter": -1}, {"jitter": np.nan}]
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Clicks(**wrong)


def test_a_truth_labelled_in_part_has_no_lines(brain: Path, save: Save, tmp_path: Path) -> None:
    from tifffile import imwrite

    imwrite(tmp_path / "labels.tif", np.ones(SHAPE, np.uint8))

    with pytest.raises(UsageError, match="ignore"):
        evaluate_markers(save(true_distance()), tmp_path / "labels.tif", brain, ignore=2)


def test_the_truth_is_in_voxels_whatever_the_spacing(brain: Path, save: Save, swc: Path) -> None:
    um = swc.with_name("um.swc")
    write_swc(um, NEURITE.transform(FRAME.spacing_um))
    few, map_ = Clicks(rays=30, margin=4), save(true_distance())

    voxel, micron = (
        evaluate_markers(map_, path, brain, presets=["replace"], clicks=few, units=units)
        for path, units in ((swc, "voxel"), (um, "um"))
    )

    assert voxel.as_dict() == micron.as_dict()
