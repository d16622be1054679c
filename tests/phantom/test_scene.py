"""What neurites are made of: gaps, beads, somata, dendrites, labels, cells."""

from collections.abc import Callable

import numpy as np
import pytest

from neuroconn.annotation import Forest
from neuroconn.geometry import Box
from neuroconn.phantom import Neurites, Optics, Tissue
from neuroconn.phantom.items import Balls
from neuroconn.phantom.scene import Scene, build, distractors

Kind = Callable[..., Balls]

PLAIN = Neurites(
    brightness=100, spread=0, variation=0, fading=0, gaps=0, bead_spacing=1e9, soma=False
)


def chain(n: int = 200, kind: int = 2) -> Forest:
    positions = np.zeros((n, 3))
    positions[:, 2] = 7.0 * np.arange(n)
    return Forest(positions, np.arange(-1, n - 1), kinds=np.full(n, kind))


def scene(forest: Forest | None = None, seed: int = 0, **style: object) -> Scene:
    style_of_it = Neurites.model_validate({**PLAIN.model_dump(), **style})
    return build([forest or chain()], [style_of_it], Optics(), tortuosity=0.0, seed=seed)


def test_a_plain_axon_is_even() -> None:
    made = scene()

    np.testing.assert_allclose(made.fibres.amplitude, 100)
    variance = np.square(Optics().psf) + 0.2**2 / 4
    np.testing.assert_allclose(made.fibres.sigma**2, np.tile(variance, (len(made.fibres.sigma), 1)))
    assert not len(made.balls.centre)


def test_fibres_and_centrelines_are_the_same_course() -> None:
    made = scene()

    np.testing.assert_array_equal(made.fibres.start, made.centrelines.start)
    np.testing.assert_array_equal(made.fibres.stop, made.centrelines.stop)


def test_wobble_moves_the_image_and_not_the_label() -> None:
    steady, shaky = scene(), scene(wobble=0.35)

    np.testing.assert_array_equal(shaky.centrelines.start, steady.centrelines.start)
    off = shaky.fibres.start - steady.fibres.start
    assert off.std() == pytest.approx(0.35, rel=0.15)


def test_gaps_are_stretches_of_fourteen_voxels_of_the_wanted_share() -> None:
    made = scene(chain(2000), gaps=0.3, gap_brightness=0.12)

    faint = made.fibres.amplitude < 50
    np.testing.assert_allclose(made.fibres.amplitude[faint], 12)
    assert faint.mean() == pytest.approx(0.3, abs=0.05)
    order = np.argsort(made.fibres.start[:, 2])
    bins = (0.5 * (made.fibres.start + made.fibres.stop)[order, 2] / 14).astype(int)
    for number in np.unique(bins):
        assert len(set(faint[order][bins == number])) == 1


def test_dendrites_have_no_gaps_and_no_beads() -> None:
    made = scene(chain(kind=3), gaps=1.0, bead_spacing=2.0, dendrite_gain=2.0)

    np.testing.assert_allclose(made.fibres.amplitude, 200)
    assert not len(made.balls.centre)


def test_dendrites_are_drawn_with_their_radius_within_reason() -> None:
    forest = chain(3, kind=3)
    thick = build(
        [Forest(forest.positions, forest.parents, np.array([1.0, 1.5, 40.0]), forest.kinds)],
        [PLAIN],
        Optics(psf=(1, 1, 1)),
        tortuosity=0.0,
        seed=0,
    )

    radius = 2 * np.sqrt(thick.fibres.sigma[:, 0] ** 2 - 1)
    assert sorted(set(radius.round(6))) == [1.65, 2.2]


def test_beads_lie_on_the_axon_at_the_mean_spacing() -> None:
    made = scene(chain(2000), bead_spacing=16.0, bead_radius=(0.75, 1.25))

    length = 7.0 * 1999
    assert len(made.balls.centre) == pytest.approx(length / 16, rel=0.1)
    assert np.abs(made.balls.centre[:, :2]).max() < 1e-9
    assert made.balls.radius.min() >= 0.75
    assert made.balls.radius.max() <= 1.25
    assert not made.balls.hard.any()


def test_every_root_carries_a_soma_if_wanted() -> None:
    forest = Forest([[9, 9, 9], [9, 9, 20], [40, 9, 9]], parents=[-1, 0, -1])

    made = scene(forest, soma=True)

    np.testing.assert_array_equal(made.balls.centre, [[9, 9, 9], [40, 9, 9]])
    assert made.balls.hard.all()
    assert ((made.balls.radius >= 6.5) & (made.balls.radius <= 8.5)).all()


def test_brightness_fades_with_the_way_from_the_root() -> None:
    made = scene(chain(1500), fading=0.45)

    order = np.argsort(made.fibres.start[:, 2])
    amplitude = made.fibres.amplitude[order]
    assert (np.diff(amplitude) < 0).all()
    assert amplitude[0] == pytest.approx(100, rel=0.01)
    assert amplitude[-1] == pytest.approx(55, rel=0.02)


def test_taper_halves_radius_and_brightness_at_branchings() -> None:
    forest = Forest([[0, 0, 0], [0, 0, 2], [0, 2, 2], [2, 0, 2]], parents=[-1, 0, 1, 1])

    made = scene(forest, taper=1.0, axon_radius=2.0)

    # Links run to nodes 1 and 2 on the first branch and to node 3 on the second, from depth 0 to 1.
    np.testing.assert_allclose(made.fibres.amplitude, [100, 100, 75])
    radius = 2 * np.sqrt(made.fibres.sigma[:, 0] ** 2 - Optics().psf[0] ** 2)
    np.testing.assert_allclose(radius, [2, 2, 1])


def test_blur_widens_the_fibre_and_leaves_beads_out() -> None:
    made = scene(blur=6.0, bead_spacing=4.0)

    assert (made.fibres.sigma > (8.9, 5.9, 5.9)).all()
    assert not len(made.balls.centre)


def test_dim_stretches_carry_no_label_and_gaps_do() -> None:
    gaps = scene(chain(800), gaps=0.5, visible=50.0)
    uneven = scene(chain(800), variation=0.6, visible=100.0)

    assert len(gaps.centrelines.start) == len(gaps.fibres.start)
    kept = len(uneven.centrelines.start) / len(uneven.fibres.start)
    assert 0.2 < kept < 0.8


def test_neurons_do_not_depend_on_those_after_them() -> None:
    one = build([chain()], [Neurites()], Optics(), tortuosity=1.0, seed=5)
    two = build([chain(), chain(50)], [Neurites()] * 2, Optics(), tortuosity=1.0, seed=5)

    n, m = len(one.fibres.start), len(one.balls.centre)
    np.testing.assert_array_equal(two.fibres.amplitude[:n], one.fibres.amplitude)
    np.testing.assert_array_equal(two.balls.radius[:m], one.balls.radius)


def test_every_neuron_needs_a_style() -> None:
    with pytest.raises(ValueError, match="shorter"):
        build([chain(), chain()], [PLAIN], Optics(), tortuosity=0.0, seed=0)


def cells(box: Box, tissue: Tissue, seed: int = 0) -> Balls:
    return distractors(box, tissue, Optics(), seed)[0]


def specks(box: Box, tissue: Tissue, seed: int = 0) -> Balls:
    return distractors(box, tissue, Optics(), seed)[1]


def test_short_visible_stretches_carry_no_label() -> None:
    uneven = {"variation": 0.6, "visible": 100.0}
    every, long = scene(chain(800), **uneven), scene(chain(800), **uneven, shortest=40.0)

    def stretches(made: Scene) -> list[float]:
        """Lengths of the runs of pieces that follow each other along x."""
        low, high = np.sort(made.centrelines.start[:, 2]), np.sort(made.centrelines.stop[:, 2])
        breaks = np.flatnonzero(low[1:] > high[:-1] + 1e-6)
        starts, stops = np.r_[low[0], low[breaks + 1]], np.r_[high[breaks], high[-1]]
        return list(stops - starts)

    assert min(stretches(every)) < 40 <= min(stretches(long))
    assert len([s for s in stretches(every) if s >= 40]) == len(stretches(long))


@pytest.mark.parametrize(("kind", "what"), [(cells, "cell"), (specks, "puncta")])
def test_distractors_come_in_the_wanted_number_and_size(kind: Kind, what: str) -> None:
    density = {"cells" if what == "cell" else "puncta": 1.2e-5}
    tissue = Tissue(**{"cells": 0, **density, f"{what}_radius": (1.2, 3.8)})
    median = getattr(tissue, f"{what}_brightness")

    found = kind(Box.of_shape((480, 480, 480)), tissue)

    inside = ((found.centre >= 0) & (found.centre < 480)).all(axis=1)
    expected = 1.2e-5 * 480**3
    assert inside.sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))
    assert found.radius.min() >= 1.2
    assert found.radius.max() <= 3.8
    assert np.log(found.amplitude / median).std() == pytest.approx(0.7, abs=0.1)
    assert (found.hard == (what == "cell")).all()


@pytest.mark.parametrize("kind", [cells, specks])
def test_distractors_of_a_box_are_those_of_the_whole(kind: Kind) -> None:
    tissue = Tissue(cells=1e-4, puncta=1e-4)
    whole = kind(Box.of_shape((200, 200, 200)), tissue, 1)
    part = kind(Box((60, 60, 60), (90, 90, 90)), tissue, 1)

    every = {tuple(c): r for c, r in zip(whole.centre, whole.radius, strict=True)}
    assert len(part.centre)
    for centre, radius in zip(part.centre, part.radius, strict=True):
        assert every[tuple(centre)] == radius


@pytest.mark.parametrize(("kind", "what"), [(cells, "cell"), (specks, "puncta")])
def test_large_distractors_are_seen_from_afar(kind: Kind, what: str) -> None:
    tissue = Tissue(cells=1e-5, puncta=1e-5, **{f"{what}_radius": (30.0, 30.0)})
    box = Box.of_shape((8, 8, 8))
    near, far = kind(box, tissue), kind(box.grow(200), tissue)

    meets = far.index().query(box)

    assert len(meets)
    assert {tuple(c) for c in far.centre[meets]} <= {tuple(c) for c in near.centre}
