"""Random phantoms: what may occur, and what must not."""

import numpy as np
import pytest

from neuroconn.annotation import Forest
from neuroconn.geometry import Box
from neuroconn.phantom import Neurites, Phantom, PhantomSettings, Variety, random_phantom

NOTHING = dict.fromkeys(("axons", "tangles", "trunks", "dendrites", "bundles", "ghosts"), 0.0)
SHAPE = (48, 48, 48)


def phantoms(n: int, **variety: object) -> list[Phantom]:
    return [random_phantom(SHAPE, seed=s, variety=Variety(**variety)) for s in range(n)]


def test_phantoms_differ_in_everything() -> None:
    made = phantoms(12)

    assert len({p.settings.tissue.brightness for p in made}) == 12
    assert len({p.settings.optics.psf for p in made}) == 12
    assert len({len(p.forests) for p in made}) > 3


@pytest.mark.parametrize("what", ["axons", "tangles", "trunks", "dendrites", "bundles"])
def test_each_recipe_makes_labelled_neurites(what: str) -> None:
    rate = 1e6 / np.prod(SHAPE) * 3
    made = phantoms(8, **{**NOTHING, what: rate, "empty": 0.0, "visible": 0.0})

    assert any((p.distance() < 1).any() for p in made)
    assert all(style.labelled for p in made for style in p.styles)


def test_ghosts_are_blurred_and_carry_no_label() -> None:
    made = phantoms(6, **{**NOTHING, "ghosts": 30.0})

    styles = [style for p in made for style in p.styles]
    assert styles
    assert not any(style.labelled for style in styles)
    assert min(style.blur for style in styles) >= 3.5
    assert all((p.distance() == 10).all() for p in made)


def test_all_may_be_empty() -> None:
    made = phantoms(3, empty=1.0)

    assert all((p.distance() == 10).all() for p in made)


def test_what_nobody_could_see_carries_no_label() -> None:
    options = {"axons": 20.0, "empty": 0.0, "contrast": (4.0, 8.0)}

    blind, keen = phantoms(4, **options, visible=1e6), phantoms(4, **options, visible=0.0)

    assert all((p.distance() == 10).all() for p in blind)
    assert any((p.distance() < 1).any() for p in keen)
    for one, other in zip(blind, keen, strict=True):
        np.testing.assert_array_equal(one.image(), other.image())


def test_brighter_contrast_makes_brighter_neurites() -> None:
    options = {"axons": 40.0, "tangles": 0.0, "empty": 0.0, "ghosts": 0.0, "spread": 0.0}
    box = Box.of_shape(SHAPE)

    def excess(phantom: Phantom) -> float:
        bare = Phantom(SHAPE, [], phantom.settings, seed=phantom.seed)
        return float((phantom.light(box) - bare.light(box)).max())

    dim = phantoms(3, **options, contrast=(2.0, 2.001))
    bright = phantoms(3, **options, contrast=(40.0, 40.001))

    for one, other in zip(dim, bright, strict=True):
        assert excess(other) == pytest.approx(20 * excess(one), rel=0.01)


def test_images_stay_within_the_camera() -> None:
    for phantom in phantoms(4, trunks=6.0, empty=0.0):
        image = phantom.image()

        assert image.min() > 0
        assert np.median(image) < 20_000


def test_faint_stretches_and_distractors_can_be_swept() -> None:
    swept = {
        "gaps": (0.5,),
        "gap_brightness": (0.25, 0.25),
        "gap_length": (8.0, 8.0),
        "cells": (3e-5,),
        "puncta": (2e-4,),
    }

    for phantom in phantoms(4, empty=0.0, trunks=0.0, ghosts=0.0, **swept):
        tissue = phantom.settings.tissue
        assert (tissue.cells, tissue.puncta) == (3e-5, 2e-4)
        looks = {(s.gaps, s.gap_brightness, s.gap_length) for s in phantom.styles}
        assert looks <= {(0.5, 0.25, 8.0)}


def test_a_sweep_changes_the_gaps_and_nothing_else() -> None:
    options = {"empty": 0.0, "axons": 60.0}
    whole, broken = (phantoms(3, **options, gaps=(share,)) for share in (0.0, 0.6))

    for one, other in zip(whole, broken, strict=True):
        np.testing.assert_array_equal(one.distance(), other.distance())
        assert one.settings == other.settings
    assert any((a.image() != b.image()).any() for a, b in zip(whole, broken, strict=True))


@pytest.mark.parametrize("length", [6.0, 30.0])
def test_faint_stretches_are_as_long_as_asked_for(length: float) -> None:
    line = Forest([[5.0, 5.0, 3.0 * x] for x in range(400)], parents=range(-1, 399))
    look = Neurites(
        gaps=0.5, gap_length=length, gap_brightness=0.1, variation=0.0, fading=0.0, spread=0.0
    )
    straight = PhantomSettings(tortuosity=0.0, neurites=look)

    fibres = Phantom((10, 10, 1200), [line], straight).scene.fibres

    order = np.argsort(fibres.start[:, 2])
    faint = fibres.amplitude[order] < 0.5 * fibres.amplitude.max()
    changes = np.count_nonzero(np.diff(faint))
    # Stretches are faint or not with equal chance: half of their borders show.
    assert changes == pytest.approx(1200 / length / 2, rel=0.3)
