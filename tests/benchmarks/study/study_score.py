"""Score one trained model on the phantoms of a study, and on a labelled volume if one is given.

``scores.json`` beside the model holds every phantom's scores and those of all together, at the
threshold of ``neuroconn trace`` and at the run's own: the one of best quality on phantoms of other
seeds. A loss that only shifts distances gains at the first and not at the second.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from study_plan import HeldOut, StudySettings, read_study

from neuroconn.annotation import Graph
from neuroconn.config import resolve
from neuroconn.config.train import TrainSettings
from neuroconn.config.validation import VolumeSettings
from neuroconn.geometry import Box
from neuroconn.metrics import (
    CCQ,
    ERL,
    TLTS,
    Breaks,
    ClDice,
    Ranking,
    apls,
    breaks_at_faces,
    ccq,
    cldice,
    erl,
    rank,
    segments_at,
    skeleton,
    skeleton_graph,
    subdivide,
    tlts,
)
from neuroconn.network import Model, load_model
from neuroconn.phantom import Phantom, Variety, random_phantom
from neuroconn.training.crop import summary
from neuroconn.training.tiles import predict_volume, tile_engine

THRESHOLD = SLACK = 3.0
THICK = 2.0
"""Voxels so near to a centreline are the truth of voxel AP and clDice: about a neurite's width."""


@dataclass
class Scores:
    """Counts of any number of phantoms."""

    ranking: Ranking = field(default_factory=Ranking)
    lines: CCQ = field(default_factory=CCQ)
    tubes: ClDice = field(default_factory=ClDice)
    runs: ERL = field(default_factory=ERL)
    breaks: Breaks = field(default_factory=Breaks)
    bare: Breaks = field(default_factory=Breaks)
    paths: TLTS = field(default_factory=TLTS)
    apls: list[float] = field(default_factory=list)

    def __add__(self, other: Scores) -> Scores:
        return Scores(*(getattr(self, n) + getattr(other, n) for n in self.__dataclass_fields__))

    def as_dict(self) -> dict[str, float]:
        """Return the figures of the table; a voxel counts as a micrometre."""
        return {
            "average_precision": self.ranking.average_precision,
            "quality": self.lines.quality,
            "correctness": self.lines.correctness,
            "completeness": self.lines.completeness,
            "cldice": self.tubes.score,
            "splits_per_mm": 1000 * self.breaks.total / max(self.runs.length, 1.0),
            "splits_without_slack": 1000 * self.bare.total / max(self.runs.length, 1.0),
            "omitted": self.runs.omitted,
            "merges": float(self.runs.merges),
            "erl": self.runs.run_length_with_merges,
            "tlts": self.paths.share("correct"),
            "apls": float(np.mean(self.apls)) if self.apls else 0.0,
        }


def main() -> int:
    """Score, and write ``scores.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("run", type=Path, help="folder of a training run")
    parser.add_argument("--set", dest="assignments", action="append", default=[])
    parser.add_argument("--labelled", nargs=2, type=Path)
    parser.add_argument("--label", type=int, default=2)
    parser.add_argument("--planes", type=int, nargs="+", default=[])
    options = parser.parse_args()
    study = read_study(options.study, *options.assignments)
    model = load_model(options.run / "model")
    own = best_threshold(model, study)
    at, at_own = zip(*score_phantoms(study, model, (THRESHOLD, own)), strict=True)
    pooled = sum(at, Scores()).as_dict()
    if options.labelled:
        pooled["labelled_quality"] = score_labelled(options)
    found = {
        "pooled": pooled,
        "own": {**sum(at_own, Scores()).as_dict(), "threshold": own},
        "phantoms": [one.as_dict() for one in at],
    }
    (options.run / "scores.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0


def best_threshold(model: Model, study: StudySettings) -> float:
    """Return the threshold of best quality on phantoms that neither train nor judge."""
    test = study.test
    counts = dict.fromkeys(test.thresholds, CCQ())
    for phantom in draw(study, test.first_tuning_seed, test.tuning):
        core, distance = scored(phantom, test), predict(model, phantom.image())
        line = centreline(phantom, core)
        for threshold in counts:
            lines = skeleton(distance[core.slices] < threshold)
            counts[threshold] = counts[threshold] + ccq(lines, line, slack=SLACK)
    return max(counts, key=lambda threshold: counts[threshold].quality)


def score_phantoms(
    study: StudySettings, model: Model, thresholds: Sequence[float]
) -> Iterator[list[Scores]]:
    """Yield the scores of every phantom of the test set, one a threshold."""
    for phantom in phantoms(study):
        distance = predict(model, phantom.image())
        yield [score(distance, phantom, study.test, t) for t in thresholds]


def phantoms(study: StudySettings) -> Iterator[Phantom]:
    """Draw the test set: true centrelines, whatever strays in the training's annotations."""
    return draw(study, study.test.first_seed, study.test.phantoms)


def draw(study: StudySettings, first: int, count: int) -> Iterator[Phantom]:
    """Draw phantoms from some seed on."""
    source = resolve(TrainSettings, study.base).phantoms
    variety = resolve(Variety, source.variety, study.test.variety)
    for seed in range(first, first + count):
        yield random_phantom(study.test.shape, seed=seed, variety=variety)


def predict(model: Model, image: NDArray[Any]) -> NDArray[np.float32]:
    """Distances of a whole phantom, through the engine of ``neuroconn infer``."""
    edge = max(image.shape)
    where = VolumeSettings(edge=edge, core=edge, halo=0)
    engine = tile_engine(model, where, device="cpu", precision="float32")
    return predict_volume(engine, image, model.card.normalisation.constants(summary(image)))


def score(
    distance: NDArray[np.float32], phantom: Phantom, test: HeldOut, threshold: float = THRESHOLD
) -> Scores:
    """Compare a map with what a phantom knows, without its margin."""
    core = scored(phantom, test)
    seen, line = distance[core.slices], centreline(phantom, core)
    tube = phantom.distance(core, clip=2 * SLACK) <= THICK
    mask = seen < threshold
    lines = skeleton(mask)
    graph = subdivide(inside(phantom.graph(core, reach=0.0), core), 1.0)
    ids = segments_at(mask, graph.positions, slack=SLACK)
    bare = segments_at(mask, graph.positions)
    whole = {"chunk": core.shape, "shape": core.shape}
    traced = skeleton_graph(lines)
    return Scores(
        ranking=rank(seen, tube),
        lines=ccq(lines, line, slack=SLACK),
        tubes=cldice(mask, tube, predicted_lines=lines, true_lines=line),
        runs=erl(graph, ids),
        breaks=breaks_at_faces(graph, ids, **whole),
        bare=breaks_at_faces(graph, bare, **whole),
        paths=tlts(traced, graph, tolerance=0.15),
        apls=[apls(traced, graph).score],
    )


def scored(phantom: Phantom, test: HeldOut) -> Box:
    """Return a phantom without its margin."""
    return phantom.bounds.grow(-test.margin)


def centreline(phantom: Phantom, core: Box) -> NDArray[np.bool_]:
    """Return the voxels that a true centreline passes through."""
    near: NDArray[np.bool_] = phantom.distance(core, clip=2 * SLACK) <= np.sqrt(3) / 2
    return near


def inside(graph: Graph, core: Box) -> Graph:
    """Keep the edges whose ends both lie in the box."""
    size = np.asarray(core.shape)
    within: NDArray[np.bool_] = (graph.positions >= -0.5) & (graph.positions < size - 0.5)
    return graph.take(within.all(axis=1))


def score_labelled(options: argparse.Namespace) -> float:
    """Quality of skeletons on the labelled planes of a real volume."""
    from scoring_volumes import score_planes

    image, label = options.labelled
    with tempfile.TemporaryDirectory() as folder:
        scores = score_planes(
            image,
            label,
            Path(folder),
            model=str(options.run / "model"),
            value=options.label,
            planes=options.planes,
        )
    return scores.counts.quality


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())
