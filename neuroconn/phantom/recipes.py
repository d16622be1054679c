"""Phantoms drawn at random: what a network sees while it learns.

Real volumes hold more than lone axons: tangles of dim terminal axons beside bright trunks, bundles,
dendrites around somata, fibres out of focus, haze, cells. Each recipe mixes them in its own
proportions, and draws the tissue and the camera anew.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydantic import Field

from neuroconn.annotation import Forest
from neuroconn.config import Settings
from neuroconn.geometry import ZYX, Box
from neuroconn.phantom.brain import Phantom
from neuroconn.phantom.settings import Camera, Neurites, Optics, PhantomSettings, Tissue
from neuroconn.phantom.trees import Growth, grow

Population = list[tuple[Forest, Neurites]]


class Variety(Settings):
    """How far random phantoms differ from each other. Numbers are per 100^3 voxels."""

    axons: float = Field(5.0, ge=0)
    """Long axons passing through."""
    tangles: float = Field(3.5, ge=0)
    """Terminal arbours: dense, tortuous, dim, beaded."""
    trunks: float = Field(0.7, ge=0)
    """Thick bright fibres."""
    dendrites: float = Field(0.3, ge=0)
    """Somata with dendrites."""
    bundles: float = Field(0.25, ge=0)
    """Groups of parallel axons."""
    ghosts: float = Field(1.0, ge=0)
    """Unlabelled fibres far out of focus."""
    density: float = Field(0.8, ge=0)
    """Log-normal sigma of the number of neurites between phantoms."""
    empty: float = Field(0.15, ge=0, le=1)
    """Share of phantoms without any neurite: tissue, cells and ghosts only."""
    contrast: tuple[float, float] = (4.0, 50.0)
    """Median peak of the neurites of a phantom in standard deviations of the noise; log-uniform."""
    spread: float = Field(1.0, ge=0)
    """Log-normal sigma of brightness between neurites."""
    visible: float = Field(2.5, ge=0)
    """Stretches dimmer than this many standard deviations of the noise carry no label."""
    shortest: float = Field(20.0, ge=0)
    """Visible stretches shorter than this, in voxels, carry no label."""
    texture: tuple[float, float] = (0.1, 1.5)
    """Weights of the octaves of tissue texture together, against its brightness; log-uniform."""
    gaps: tuple[float, ...] = Field((0.0, 0.1, 0.2), min_length=1)
    """Share of faint stretches: each neurite gets one of these; trunks and ghosts have none."""
    gap_brightness: tuple[float, float] = (0.1, 0.4)
    """What remains of the brightness in a faint stretch; uniform."""
    gap_length: tuple[float, float] = (14.0, 14.0)
    """Length of a faint stretch in voxels; uniform."""
    cells: tuple[float, ...] = Field((0.0, 4e-6, 1.2e-5, 6e-5), min_length=1)
    """Unlabelled round cells per voxel: each phantom gets one of these."""
    puncta: tuple[float, ...] = Field((0.0, 2e-5, 1e-4, 4e-4), min_length=1)
    """Unlabelled bright specks per voxel: each phantom gets one of these."""
    noise: tuple[float, float] = (0.02, 0.3)
    """Standard deviation of the noise, in units of that texture; log-uniform. In real volumes the
    noise is 0.3 to 0.5 of the median absolute deviation: most of what varies is tissue."""


def random_phantom(
    shape: ZYX = (160, 160, 160), *, seed: int, variety: Variety | None = None
) -> Phantom:
    """Draw tissue, camera and neurons at random.

    Parameters
    ----------
    shape : (z, y, x) ints, optional
        Voxels.
    seed : int
        The phantom is a pure function of the arguments.
    variety : Variety, optional
        What may occur, and how often.
    """
    rng = np.random.default_rng([seed, 77])
    variety = variety or Variety()
    settings = _surroundings(rng, variety)
    noise = noise_of(settings)
    peak = noise * np.exp(rng.uniform(*np.log(variety.contrast)))
    population: Population = []
    density = rng.lognormal(0, variety.density)
    if rng.random() >= variety.empty:
        for maker, rate in (
            (_axon, variety.axons),
            (_tangle, variety.tangles),
            (_trunk, variety.trunks),
            (_dendrites, variety.dendrites),
            (_bundle, variety.bundles),
        ):
            # A phantom has much of one population and none of another, as real crops do.
            mean = density * rate * np.prod(shape) / 1e6 * rng.gamma(0.8, 1 / 0.8)
            for _ in range(min(int(rng.poisson(mean)), 60)):
                population += maker(rng, shape, peak, variety)
    mean = variety.ghosts * np.prod(shape) / 1e6
    for _ in range(int(rng.poisson(mean))):
        population += _ghost(rng, shape, peak, variety)
    floor = {"visible": variety.visible * noise, "shortest": variety.shortest}
    styles = [style.model_copy(update=floor) for _, style in population]
    return Phantom(shape, [forest for forest, _ in population], settings, styles=styles, seed=seed)


def _surroundings(rng: np.random.Generator, variety: Variety) -> PhantomSettings:
    strength = float(np.exp(rng.uniform(*np.log(variety.texture))))
    pitches = np.array((160, 60, 40, 24, 14, 7, 4)) * rng.uniform(0.75, 1.3, 7)
    # Coarse octaves weigh most; which ones is drawn anew for every phantom.
    shares = np.array((1, 1, 1, 0.7, 0.4, 0.15, 0.07)) * rng.gamma(0.8, 1, 7)
    weights = strength * shares / max(shares.sum(), 1e-9)
    octaves = tuple(zip(pitches.tolist(), weights.tolist(), strict=True))
    brightness = float(np.exp(rng.uniform(np.log(60), np.log(2500))))
    noise = brightness * strength * float(np.exp(rng.uniform(*np.log(variety.noise))))
    read = noise * rng.uniform(0.1, 0.6)
    gain = max((noise**2 - read**2) / brightness, 1e-3)
    sharp = rng.uniform(0.55, 1.3)
    return PhantomSettings(
        tissue=Tissue(
            brightness=brightness,
            octaves=octaves,
            pits=rng.uniform(0, 0.8) * strength,
            pit_pitch=rng.uniform(6, 14),
            stripes=rng.choice([0, 0.02, 0.06]) * rng.random(),
            flicker=rng.choice([0, 0.01, 0.03]) * rng.random(),
            cells=float(rng.choice(variety.cells)),
            cell_brightness=brightness * np.exp(rng.uniform(np.log(0.15), np.log(2.5))),
            cell_radius=(rng.uniform(0.9, 1.6), rng.uniform(2.0, 4.5)),
            puncta=float(rng.choice(variety.puncta)),
            puncta_brightness=noise * float(np.exp(rng.uniform(np.log(4), np.log(50)))),
            puncta_radius=(rng.uniform(0.2, 0.6), rng.uniform(0.8, 2.2)),
        ),
        optics=Optics(psf=(sharp * rng.uniform(1.0, 2.6), sharp, sharp)),
        camera=Camera(offset=rng.uniform(50, 1500), gain=gain, read=read),
        tortuosity=rng.uniform(0.2, 1.5),
    )


def noise_of(settings: PhantomSettings) -> float:
    """Return the deviation of noise and fine texture: what neurites stand out of, grey levels."""
    camera, tissue = settings.camera, settings.tissue
    fine = sum((w * tissue.brightness) ** 2 / 6 for pitch, w in tissue.octaves if pitch < 15)
    return float(np.sqrt(camera.gain * tissue.brightness + camera.read**2 + fine))


def _neurites(
    rng: np.random.Generator, peak: float, variety: Variety, **changes: object
) -> Neurites:
    base: dict[str, object] = {
        "brightness": max(peak * rng.lognormal(0, variety.spread), 1e-3),
        "spread": 0.0,
        "variation": rng.uniform(0.2, 0.7),
        "fading": rng.uniform(0, 0.6),
        "axon_radius": rng.uniform(0.1, 0.9),
        "gaps": float(rng.choice(variety.gaps)),
        "gap_brightness": rng.uniform(*variety.gap_brightness),
        "gap_length": _between(rng, variety.gap_length),
        "bead_spacing": np.exp(rng.uniform(np.log(6), np.log(60))),
        "bead_radius": (0.4, rng.uniform(0.6, 1.3)),
        "soma": False,
    }
    return Neurites.model_validate({**base, **changes})


def _between(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    """Draw uniformly; a range of one value takes no number from the generator."""
    return rng.uniform(*ends) if ends[0] < ends[1] else ends[0]


def _anywhere(rng: np.random.Generator, shape: ZYX, margin: float) -> tuple[float, float, float]:
    z, y, x = (rng.uniform(-margin, n + margin) for n in shape)
    return z, y, x


def _around(shape: ZYX) -> Box:
    return Box.of_shape(shape).grow(40)


def _axon(rng: np.random.Generator, shape: ZYX, peak: float, variety: Variety) -> Population:
    growth = Growth(
        length=rng.uniform(150, 600),
        persistence=np.exp(rng.uniform(np.log(15), np.log(250))),
        branching=rng.choice([0.0, 0.004, 0.015]),
        spread=rng.uniform(0.6, 1.6),
    )
    forest = grow(growth, rng, root=_anywhere(rng, shape, 20), bounds=_around(shape))
    return [(forest, _neurites(rng, peak, variety))]


def _tangle(rng: np.random.Generator, shape: ZYX, peak: float, variety: Variety) -> Population:
    growth = Growth(
        length=np.exp(rng.uniform(np.log(300), np.log(3000))),
        persistence=np.exp(rng.uniform(np.log(8), np.log(80))),
        branching=rng.uniform(0.005, 0.04),
        spread=rng.uniform(0.8, 2.0),
    )
    forest = grow(growth, rng, root=_anywhere(rng, shape, 10), bounds=_around(shape))
    style = _neurites(
        rng,
        peak * rng.uniform(0.25, 0.8),
        variety,
        axon_radius=rng.uniform(0.1, 0.5),
        bead_spacing=np.exp(rng.uniform(np.log(4), np.log(20))),
        variation=rng.uniform(0.3, 0.8),
    )
    return [(forest, style)]


def _trunk(rng: np.random.Generator, shape: ZYX, peak: float, variety: Variety) -> Population:
    growth = Growth(
        length=rng.uniform(150, 700),
        persistence=np.exp(rng.uniform(np.log(40), np.log(300))),
        branching=rng.choice([0.0, 0.008, 0.02]),
        spread=rng.uniform(0.5, 1.2),
    )
    forest = grow(growth, rng, root=_anywhere(rng, shape, 20), bounds=_around(shape))
    style = _neurites(
        rng,
        peak * rng.uniform(1.5, 6),
        variety,
        axon_radius=rng.uniform(0.8, 4.0),
        gaps=0.0,
        variation=rng.uniform(0.1, 0.5),
        bead_spacing=200.0,
        taper=rng.choice([0.0, 1.5, 3.0]),
    )
    return [(forest, style)]


def _dendrites(rng: np.random.Generator, shape: ZYX, peak: float, variety: Variety) -> Population:
    root = _anywhere(rng, shape, 5)
    style = _neurites(
        rng,
        peak * rng.uniform(1, 3),
        variety,
        dendrite_gain=rng.uniform(1, 2.5),
        soma=True,
        taper=rng.choice([0.0, 2.0, 4.0]),
    )
    made: Population = []
    for k in range(int(rng.integers(3, 8))):
        growth = Growth(
            length=rng.uniform(60, 350),
            persistence=rng.uniform(40, 150),
            branching=rng.uniform(0.005, 0.03),
            kind=3,
            radius=rng.uniform(0.6, 2.0),
        )
        forest = grow(growth, rng, root=root, bounds=_around(shape))
        made.append((forest, style.model_copy(update={"soma": k == 0})))
    return made


def _bundle(rng: np.random.Generator, shape: ZYX, peak: float, variety: Variety) -> Population:
    growth = Growth(length=rng.uniform(200, 500), persistence=rng.uniform(150, 600), branching=0.0)
    guide = grow(growth, rng, root=_anywhere(rng, shape, 10), bounds=_around(shape))
    width = rng.uniform(3, 14)
    style = _neurites(rng, peak * rng.uniform(0.6, 2), variety)
    made: Population = []
    for _ in range(int(rng.integers(3, 14))):
        steps = rng.standard_normal(guide.positions.shape) * 0.5
        offset = rng.standard_normal(3) * width
        positions = guide.positions + offset + np.cumsum(steps, axis=0)
        own = style.model_copy(update={"brightness": style.brightness * rng.lognormal(0, 0.5)})
        made.append((guide.at(positions), own))
    return made


def _ghost(rng: np.random.Generator, shape: ZYX, peak: float, variety: Variety) -> Population:
    maker: Callable[..., Population] = _axon if rng.random() < 0.6 else _trunk
    blur = rng.uniform(3.5, 9)
    changes = {"labelled": False, "blur": blur, "gaps": 0.0}
    made = maker(rng, shape, peak * rng.uniform(0.2, 1.0), variety)
    return [(forest, style.model_copy(update=changes)) for forest, style in made]
