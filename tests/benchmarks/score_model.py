"""Score a model at fixed settings: unseen phantoms, labelled planes, a volume without neurites.

``python tests/benchmarks/score_model.py`` scores the shipped model on phantoms. Real volumes are
scored where they are given::

    python tests/benchmarks/score_model.py --labelled IMAGE.tif LABEL.tif --label 2
    python tests/benchmarks/score_model.py --phantoms 0 --negative VOLUME.tif --chunk 32 64 128

Distances below 3 voxels count as neurite and are thinned; 3 voxels is also how far a line may lie
from the truth. Nothing here is to be tuned to a model.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scoring_phantoms import SETS, SHAPE, PhantomScores, Predict, score_phantoms
from scoring_volumes import Wandering, score_negative, score_planes

from neuroconn.volume.statistics import intensity_statistics, voxel_histogram


def predictor(model: str, *, threads: int | None = None) -> Predict:
    """Load a model for whole phantoms; each is normalised as a brain of its own.

    Parameters
    ----------
    model : str
        Folder or name.
    threads : int, optional
        Threads of torch.
    """
    from neuroconn.inference.engine.torch_engine import Engine
    from neuroconn.network import load_model

    loaded = load_model(model)
    engine = Engine(loaded, device="auto", tile=SHAPE, threads=threads)

    def predict(image: NDArray[np.uint16]) -> NDArray[np.float32]:
        statistics = intensity_statistics(voxel_histogram(image))
        return engine.predict(image, loaded.card.normalisation.constants(statistics))

    return predict


def main(arguments: Sequence[str] | None = None) -> int:
    """Score, and print tables or one JSON object."""
    options = parse(arguments)
    found: dict[str, Any] = {"model": options.model}
    if options.phantoms:
        predict = predictor(options.model, threads=options.threads)
        for name in options.set:
            scores = score_phantoms(name, options.phantoms, predict)
            found[name] = scores.as_dict()
            say(options, describe(scores))
    with tempfile.TemporaryDirectory() as folder:
        if options.labelled:
            found["labelled"] = score_labelled(options, Path(folder) / "labelled")
        if options.negative:
            found["negative"] = score_empty(options, Path(folder) / "negative")
    if options.json:
        print(json.dumps(found))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="default", help="folder or name of a shipped model")
    parser.add_argument("--phantoms", type=int, default=32, help="phantoms of each set")
    parser.add_argument("--set", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--labelled", nargs=2, type=Path, metavar=("IMAGE", "LABEL"))
    parser.add_argument("--planes", nargs="+", type=int, default=(), help="labelled planes")
    parser.add_argument("--label", type=int, default=1, help="value of neurites in LABEL")
    parser.add_argument("--negative", type=Path, help="a volume without neurites")
    parser.add_argument("--chunk", nargs="+", type=int, default=(32, 64, 128))
    parser.add_argument("--scheduler", default="sync")
    parser.add_argument("--threads", type=int, help="threads of torch")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    return parser.parse_args(arguments)


def score_labelled(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Score the labelled planes and say so."""
    image, label = options.labelled
    scores = score_planes(
        image,
        label,
        folder,
        model=options.model,
        value=options.label,
        planes=options.planes,
        scheduler=options.scheduler,
        threads=options.threads,
    )
    say(options, f"{image.name}\n{scores}\n")
    return scores.as_dict()


def score_empty(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Score the volume without neurites at each chunk size and say so."""
    found = []
    for chunk in options.chunk:
        wandering = score_negative(
            options.negative,
            folder,
            model=options.model,
            chunk=chunk,
            scheduler=options.scheduler,
            threads=options.threads,
        )
        found.append(asdict(wandering))
        say(options, describe_wandering(options.negative.name, wandering))
    return found


def describe(scores: PhantomScores) -> str:
    """Return the table of one set of phantoms."""
    pooled, quartiles, why = scores.pooled, scores.quartiles(), scores.breakdown
    lines = [f"{scores.name}: {len(scores.counts)} phantoms with neurites"]
    for name, value in (("precision", pooled.correctness), ("recall", pooled.completeness)):
        low, middle, high = quartiles[name]
        lines.append(
            f"  {name:<10} {value:.3f} pooled; quartiles {low:.3f} {middle:.3f} {high:.3f}"
        )
    lines.append("  recall by brightness above the background (standard deviations of the noise)")
    for bright, truth, found in why.rows():
        share = f"{found / truth:.3f}" if truth else "-"
        part = truth / max(pooled.truth, 1)
        lines.append(f"    {bright:<10} {share:>6} of {part:6.1%} of the centreline")
    lines.append(
        f"  false skeleton voxels: {why.stray} beside a centreline, {why.unlabelled} on light "
        f"without a label, {why.invented} on nothing (of {pooled.predicted})"
    )
    if scores.empty:
        lines.append(
            f"  {len(scores.empty)} phantoms without neurites: {np.mean(scores.empty):.1f} "
            f"skeleton voxels each, at most {max(scores.empty)}"
        )
    return "\n".join(lines) + "\n"


def describe_wandering(name: str, found: Wandering) -> str:
    """Return one line on a volume without neurites."""
    median, most, largest = found.visited
    return (
        f"{name}, chunk {found.chunk}: {found.near:.2e} of the voxels below 3; "
        f"{found.neurite} of {found.chunks} chunks hold neurite; {found.stayed} of 100 walks stay "
        f"beside their seed (chunks visited: median {median}, 90 % {most}, most {largest})"
    )


def say(options: argparse.Namespace, text: str) -> None:
    """Print a table, unless one JSON object is wanted."""
    if not options.json:
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
