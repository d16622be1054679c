from pathlib import Path

import numpy as np
import pytest
from scenes import places
from scipy.spatial import cKDTree

from neuroconn.annotation import Forest, concatenate
from neuroconn.geometry import Box, Frame, Level
from neuroconn.tracing.radii import image_radii
from neuroconn.volume import Image, create_image, write_region

SHAPE = (40, 60, 160)
NEURITE = Forest([[8, 20, 10 + 5 * i] for i in range(29)], [-1, *range(28)])
SLOPED = Forest([[6 + i, 10 + i, 10 + 5 * i] for i in range(27)], [-1, *range(26)])


def brain(folder: Path, light: np.ndarray, spacing: tuple[float, float, float]) -> Image:
    image = create_image(
        folder / "brain.ome.zarr",
        levels=[Level(SHAPE, (1, 1, 1), (1, 1, 1))],
        dtype="uint16",
        frame=Frame(spacing),
        kind="brain",
        chunk=32,
        shard=None,
    )
    noise = np.random.default_rng(0).normal(100, 3, SHAPE)
    write_region(image.array(), Box.of_shape(SHAPE), (noise + light).astype(np.uint16))
    return image


def away(forest: Forest, spacing: tuple[float, float, float]) -> np.ndarray:
    """Distance of every voxel to a forest in µm."""
    grid = np.stack(np.mgrid[tuple(slice(0, n) for n in SHAPE)], axis=-1)
    return cKDTree(places(forest, 0.5) * spacing).query(grid * spacing)[0]


@pytest.mark.parametrize("forest", [NEURITE, SLOPED])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 0.5, 0.5)])
@pytest.mark.parametrize("sigma", [1.5, 2.0])
def test_a_gaussian_has_its_half_width(
    tmp_path: Path, forest: Forest, spacing: tuple[float, float, float], sigma: float
) -> None:
    sigma = sigma * min(spacing)
    image = brain(tmp_path, 1000 * np.exp(-((away(forest, spacing) / sigma) ** 2) / 2), spacing)

    radii = image_radii(forest, image)

    np.testing.assert_allclose(radii, 1.1774 * sigma, rtol=0.25)
    assert np.median(radii) == pytest.approx(1.1774 * sigma, rel=0.1)


def test_a_thicker_neurite_is_thicker(tmp_path: Path) -> None:
    other = NEURITE.transform(origin=(20, 20, 0))
    both = concatenate([NEURITE, other])
    spacing = (1.0, 1.0, 1.0)
    thin, thick = away(NEURITE, spacing), away(other, spacing)

    radii = image_radii(both, brain(tmp_path, 900.0 * ((thin < 1.5) | (thick < 3.5)), spacing))

    assert np.median(radii[:29]) == pytest.approx(1.5, abs=0.4)
    assert np.median(radii[29:]) == pytest.approx(3.5, abs=0.4)


def test_where_there_is_nothing_there_is_no_radius(tmp_path: Path) -> None:
    image = brain(tmp_path, -80.0 * (away(NEURITE, (1.0, 1.0, 1.0)) < 3), (1.0, 1.0, 1.0))

    assert np.isnan(image_radii(NEURITE, image)).all()
