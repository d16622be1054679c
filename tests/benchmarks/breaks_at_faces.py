"""Do neurites break where chunks meet? A whole phantom brain, inferred and scored.

``python tests/benchmarks/breaks_at_faces.py FOLDER`` draws the brain, infers every chunk with the
default preset, and compares breaks near chunk faces with breaks elsewhere. Stopped, it goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import neuroconn
from neuroconn.annotation import concatenate, write_swc
from neuroconn.config.infer import InferSettings
from neuroconn.geometry import ZYX, Box, Frame, plan_levels
from neuroconn.phantom import Growth, Neurites, Phantom, PhantomSettings, grow
from neuroconn.volume import create_image, write_region
from neuroconn.volume.statistics import intensity_statistics, voxel_histogram

CHUNK = 128
PER_MEGAVOXEL = 4.0
"""Axons for each million voxels."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, infer and score; print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", type=int, nargs=3, default=(384, 512, 512))
    parser.add_argument("--model", default="default")
    parser.add_argument("--scheduler", default="local")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    z, y, x = options.shape
    brain, truth = draw((z, y, x), options.folder)
    distance = options.folder / "distance.ome.zarr"
    neuroconn.infer(
        str(brain),
        str(distance),
        model=options.model,
        seed_source="all",
        settings=InferSettings(),
        scheduler=options.scheduler,
    )
    scores = neuroconn.evaluate(
        str(distance), truth, units="voxel", metrics=["breaks", "erl"], chunk=CHUNK
    )
    print(json.dumps(scores.as_dict()) if options.json else scores)
    return 0


def draw(shape: ZYX, folder: Path) -> tuple[Path, Path]:
    """Write the brain and its neurites, unless they are there."""
    brain, truth = folder / "brain.ome.zarr", folder / "neurites.swc"
    if truth.exists():
        return brain, truth
    folder.mkdir(parents=True, exist_ok=True)
    phantom = axons(shape, seed=10**9)
    cores = list(Box.of_shape(shape).split((CHUNK,) * 3))
    histogram = sum(voxel_histogram(phantom.image(core)) for core in cores)
    image = create_image(
        brain,
        levels=plan_levels(shape)[:1],
        dtype=np.dtype("uint16"),
        frame=Frame((1.0, 1.0, 1.0)),
        chunk=64,
        shard=CHUNK,
        kind="brain",
        attributes={"intensity": dict(intensity_statistics(histogram))},
    )
    for core in cores:
        write_region(image.array(0), core, phantom.image(core))
    write_swc(truth, concatenate(phantom.forests))
    return brain, truth


def axons(shape: ZYX, *, seed: int) -> Phantom:
    """Grow long branching axons with gaps in default tissue, straight between their nodes."""
    rng = np.random.default_rng(seed)
    growth = Growth(length=400.0, persistence=60.0, branching=0.01)
    around = Box.of_shape(shape).grow(-4)
    count = round(PER_MEGAVOXEL * np.prod(shape) / 1e6)
    roots = rng.uniform(8, np.asarray(shape) - 8, (count, 3))
    forests = [grow(growth, rng, root=tuple(root), bounds=around) for root in roots]
    looks = PhantomSettings(tortuosity=0.0, neurites=Neurites(soma=False, gaps=0.2))
    return Phantom(shape, forests, looks, seed=seed)


if __name__ == "__main__":
    sys.exit(main())
