"""The measured seam error, against the same difference taken by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from neuroconn.errors import HaloError
from neuroconn.geometry import Frame, plan_levels
from neuroconn.inference.engine.seam import seam_errors
from neuroconn.network import Constants, Model, ModelCard, Normalisation, UNet
from neuroconn.volume import create_image, write_region
from neuroconn.volume.store import Image

CARD = ModelCard(name="test", clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))
CONSTANTS = Constants("linear", 100, 400)
SHAPE = (64, 64, 128)


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    network = UNet(levels=2, width=2, dropout=0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.rand(2, 1, 16, 16, 16))
    return Model(network.eval(), CARD)


@pytest.fixture(scope="module")
def voxels() -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    grey = np.random.default_rng(0).integers(90, 120, SHAPE).astype(np.uint16)
    grey[20, 30, 70:] += 900
    return grey


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory, voxels: np.ndarray) -> Image:  # type: ignore[type-arg]
    image = create_image(
        tmp_path_factory.mktemp("brain") / "brain.ome.zarr",
        levels=plan_levels(SHAPE)[:1],
        dtype="uint16",
        frame=Frame((1.0, 1.0, 1.0)),
        chunk=64,
        shard=None,
        kind="brain",
    )
    write_region(image.array(), image.grid().bounds, voxels)
    return image


def by_hand(model: Model, voxels: np.ndarray, halo: int) -> np.ndarray:  # type: ignore[type-arg]
    """The bright core, 64 to 128 along x, predicted with ``halo`` around it."""
    around = np.pad(voxels, 24, mode="reflect")
    start = 24 - halo
    z = slice(start, start + 64 + 2 * halo)
    tile = CONSTANTS.apply(around[z, z, start + 64 : start + 128 + 2 * halo])
    with torch.inference_mode():
        out = model.network(torch.from_numpy(tile)[None, None])[0, 0].numpy()
    inner = slice(halo, halo + 64)
    return out[inner, inner, inner]  # type: ignore[no-any-return]


def test_the_error_is_that_of_the_brightest_core(
    model: Model,
    brain: Image,
    voxels: np.ndarray,  # type: ignore[type-arg]
) -> None:
    seam, *_ = seam_errors(brain, model, CONSTANTS, [8], places=1, device="cpu")

    error = np.abs(by_hand(model, voxels, 8) - by_hand(model, voxels, 24))
    assert seam.halo == 8
    assert seam.voxels == 64**3
    assert seam.largest == pytest.approx(error.max(), abs=1e-5)
    assert seam.mean == pytest.approx(error.mean(), abs=1e-6)
    assert seam.largest > seam.p999 > seam.mean > 0


def test_wider_halos_have_smaller_seams_and_useless_ones_are_left_out(
    model: Model, brain: Image
) -> None:
    seams = seam_errors(brain, model, CONSTANTS, (16, 0, 6, 24, 96, 0), places=1, device="cpu")

    assert [s.halo for s in seams] == [0, 16]
    assert seams[0].mean > seams[1].mean


def test_what_cannot_be_measured_is_refused(model: Model, brain: Image) -> None:
    with pytest.raises(HaloError, match="1 place"):
        seam_errors(brain, model, CONSTANTS, places=0)

    network = UNet(levels=1, width=2).eval()
    network.encoders[0][1] = nn.InstanceNorm3d(2)
    with pytest.raises(HaloError, match="InstanceNorm3d"):
        seam_errors(brain, Model(network, CARD), CONSTANTS)
