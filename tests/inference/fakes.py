"""A network without weights, and a brain small enough to walk in a test.

Workers are started as fresh processes and import this file by name.
"""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from neuroconn.config.infer import AuditSettings, EvidenceRules, InferSettings
from neuroconn.geometry import ZYX, ChunkGrid, Frame, plan_levels
from neuroconn.inference.plan import Plan
from neuroconn.network.card import ModelCard
from neuroconn.network.normalisation import Constants, Normalisation
from neuroconn.volume.regions import write_region
from neuroconn.volume.statistics import intensity_statistics, voxel_histogram
from neuroconn.volume.store import Image, create_image

SHAPE = (48, 64, 80)
CHUNKS = 3 * 4 * 5
FIBRE = {(1, 2, 0), (1, 2, 1), (1, 2, 2), (1, 1, 2), (1, 0, 2)}
"""Chunks the fibre of :func:`fibre` runs through."""
SEED = (24, 40, 0)
CHUNK = 16
SETTINGS = InferSettings(
    chunk=CHUNK,
    inner_chunk=8,
    halo=8,
    evidence=EvidenceRules(threshold=4.0, core_threshold=2.0, min_component=10, reliable=2),
    audit=AuditSettings(probes=0),
)


class FakePredictor:
    """Distance to the voxels brighter than half, by SciPy; slow but exact, like a perfect net.

    What it does to single chunks is read from the environment variable ``FAKE``, a JSON object::

        {"bright": v}   grey value from which a voxel of the tile is neurite (default 500)
        {"poison": v}   a tile that holds exactly this grey value kills its process
        {"segfault": v} ... makes it read where there is no memory
        {"nan": v}      ... is answered by NaN
        {"nan_once": v} ... is answered by NaN unless the predictor is the exact one
        {"error": v}    ... raises
        {"seconds": s}  every tile takes this much longer
        {"stall": s, "stalled": path}  the first tile of all holds the interpreter for so long
        {"log": path}   appends a line for every tile
    """

    def __init__(self, exact: bool, trim: int = 0) -> None:
        self._exact = exact
        self._trim = trim

    def predict(self, raw: NDArray[Any], constants: Constants) -> NDArray[np.float32]:
        fake = json.loads(os.environ.get("FAKE", "{}"))
        if "log" in fake:
            with Path(fake["log"]).open("a") as file:
                file.write("tile\n")
        time.sleep(fake.get("seconds", 0))
        if "stall" in fake and _first(Path(fake["stalled"])):
            ctypes.PyDLL(None).sleep(int(fake["stall"]))  # does not let go of the interpreter
        if self._holds(raw, fake, "segfault"):
            ctypes.string_at(0)
        if self._holds(raw, fake, "poison"):
            os._exit(9)
        if self._holds(raw, fake, "error"):
            raise RuntimeError("the fake network was told to fail")
        distance = distances(raw)
        once = self._holds(raw, fake, "nan_once") and not self._exact
        if self._holds(raw, fake, "nan") or once:
            distance[:] = np.nan
        t = self._trim
        z, y, x = distance.shape
        return distance[t : z - t, t : y - t, t : x - t]

    @staticmethod
    def _holds(raw: NDArray[Any], fake: Mapping[str, Any], key: str) -> bool:
        return key in fake and bool((raw == fake[key]).any())


def _first(mark: Path) -> bool:
    """Whether nobody has been here before; true once for all processes."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def fake_predictor(plan: Plan, threads: int, exact: bool) -> FakePredictor:
    """The factory that a run sends to its workers."""
    return FakePredictor(exact, plan.trim)


def distances(raw: NDArray[Any]) -> NDArray[np.float32]:
    lit = raw > 500
    if not lit.any():
        return np.full(raw.shape, 10, np.float32)
    return np.minimum(ndimage.distance_transform_edt(~lit), 10).astype(np.float32)


def fibre(shape: ZYX = SHAPE, bend: ZYX = (24, 40, 40)) -> NDArray[np.uint16]:
    """A dim brain with one bent fibre from face to face, and one speck far from it."""
    volume = np.random.default_rng(0).integers(90, 110, shape).astype(np.uint16)
    z, y, x = bend
    volume[z, y, : x + 1] = 900
    volume[z, : y + 1, x] = 900
    volume[4, -4, -4] = 900
    return volume


def save_brain(path: Path, volume: NDArray[Any], smallest: int = 48) -> Image:
    """Write a volume as a brain, the way the converter would."""
    z, y, x = volume.shape
    image = create_image(
        path,
        levels=plan_levels((z, y, x), smallest=smallest),
        dtype=volume.dtype,
        frame=Frame((2.0, 1.0, 1.0)),
        chunk=16,
        shard=32,
        kind="brain",
    )
    for number, level in enumerate(image.levels):
        fz, fy, fx = level.factor
        data = np.ascontiguousarray(volume[::fz, ::fy, ::fx])
        grid = image.grid(number)
        for index in grid:
            core = grid.core(index)
            write_region(image.array(number), core, data[core.slices])
    statistics = intensity_statistics(voxel_histogram(volume))
    image.update_attributes({"intensity": dict(statistics)})
    return image


def save_card(folder: Path, clip: float = 10.0) -> Path:
    """A model card over weights that are not there: enough for the fake network."""
    card = ModelCard(
        name="fake",
        architecture={"name": "fake"},
        clip=clip,
        normalisation=Normalisation(),
        spacing_um=(1.0, 1.0, 1.0),
        sha256="0" * 64,
    )
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(card.model_dump_json())
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def stored_bytes(output: Path) -> dict[str, bytes]:
    """Every file of the map but those of the run folder."""
    files = (p for p in sorted(output.rglob("*")) if p.is_file())
    named = {str(p.relative_to(output)): p.read_bytes() for p in files}
    return {name: data for name, data in named.items() if not name.startswith("run/")}


def grid_of(shape: ZYX = SHAPE) -> ChunkGrid:
    return ChunkGrid(shape, (CHUNK,) * 3)
