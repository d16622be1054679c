"""One phantom of a study as every trained model sees it.

A row a network; the columns are the image, the true distance, and one prediction a loss. Written as
``picture.png`` beside the runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from study_plan import Cell, StudySettings, read_study
from study_score import phantoms, predict

from neuroconn.network import load_model
from neuroconn.phantom import Phantom
from neuroconn.view.pictures import (
    Picture,
    nearness,
    projection,
    save_png,
    side_by_side,
    stretch,
)

CLIP = 6.0
"""Distances from here on are black."""
_GAP = 4


def main() -> int:
    """Draw what is trained, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("folder", type=Path, help="where the runs are")
    parser.add_argument("--set", dest="assignments", action="append", default=[])
    parser.add_argument("--phantom", type=int, default=0, help="which of the test set")
    parser.add_argument("--seed", type=int, help="runs of this seed; by default the first")
    options = parser.parse_args()
    study = read_study(options.study, *options.assignments)
    seed = study.seeds[0] if options.seed is None else options.seed
    phantom = list(phantoms(study))[options.phantom]
    rows = list(draw(study, options.folder, phantom, seed))
    if rows:
        space = np.full((_GAP, rows[0].shape[1], 3), 255, np.uint8)
        picture = np.concatenate([part for row in rows for part in (space, row)][1:])
        save_png(options.folder / "picture.png", picture)
    return 0


def draw(study: StudySettings, folder: Path, phantom: Phantom, seed: int) -> Iterator[Picture]:
    """Yield a row for every network that has a trained loss; losses without a run are black."""
    core = phantom.bounds.grow(-study.test.margin)
    image, truth = phantom.image(), phantom.distance(core, clip=CLIP)
    shown = stretch(projection(image[core.slices]), softness=0)
    for network in study.networks:
        runs = [folder / Cell(network, loss, seed, "branch").name for loss in study.losses]
        trained = [(run / "scores.json").exists() for run in runs]
        if any(trained):
            maps = [
                predict(load_model(run / "model"), image)[core.slices]
                if there
                else np.full(core.shape, CLIP, np.float32)
                for run, there in zip(runs, trained, strict=True)
            ]
            seen = [nearness(projection(m, minimum=True), clip=CLIP) for m in (truth, *maps)]
            yield side_by_side([shown, *seen], gap=_GAP)


if __name__ == "__main__":
    sys.exit(main())
