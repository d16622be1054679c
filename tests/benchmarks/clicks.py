"""Does a click land on a neurite? The shipped model's overlays against the brain as it is.

``python tests/benchmarks/clicks.py`` prints the tables of ``docs/clicks.md``, in about a minute and
a half on one core. After a change of the model this puts new ones and their pictures in place::

    python tests/benchmarks/clicks.py --page docs/clicks.md --figures docs/pictures

Four scenes, clicked as ``neuroconn evaluate --markers`` does:

* ``reference``: a trunk and three branches with gaps in dark tissue, 60 bright blobs; with the true
  distance map too, the most that any network can reach;
* ``gaps and blobs``: axons in the tissue that phantoms have by default, a tenth of each nearly
  invisible, among 60 cells brighter than they are;
* ``tangle``: what training draws from, two of its dense phantoms;
* the sample of ``neuroconn demo``, walked and exported as there. Nobody traced it, so it is clicked
  at lines a ridge filter finds (bright ones: the hardest to improve) and at those the model finds
  (which cannot tell what the model missed).

Phantoms are 128^3 voxels with seeds that training never reaches. Nothing here is to be tuned to a
model.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from score_model import predictor
from scoring_phantoms import FIRST_SEED, SHAPE, Predict, recipe

from neuroconn import Forest, Phantom, convert, infer, trace
from neuroconn.annotation import write_swc
from neuroconn.config import find_preset, list_presets
from neuroconn.config.base import read_settings
from neuroconn.config.infer import InferSettings
from neuroconn.config.overlay import OverlaySettings
from neuroconn.demonstration import SAMPLE
from neuroconn.evaluation import Clicks, MarkerScores, evaluate_markers
from neuroconn.evaluation.clicking import click_view
from neuroconn.evaluation.marker_scores import Landed
from neuroconn.evaluation.markers import USUAL
from neuroconn.geometry import Box
from neuroconn.inference.encoding import Encoding
from neuroconn.inference.seeds.ridges import halo, responses
from neuroconn.metrics import skeleton
from neuroconn.metrics.clicks import random_aims, random_rays
from neuroconn.metrics.skeleton_graph import voxel_graph
from neuroconn.phantom import Camera, Growth, Neurites, PhantomSettings, Tissue, grow
from neuroconn.vaa3d.overlay import Window
from neuroconn.view import save_png
from neuroconn.view.clicks import draw_clicks
from neuroconn.volume.statistics import intensity_statistics, voxel_histogram

BLOBS = 60 / np.prod(SHAPE)
"""Cells a voxel."""
CLICKS = Clicks()
TABLES_FOLLOW = "<!-- written by tests/benchmarks/clicks.py -->"
_RIDGE, _LONGEST = 3.0, 60
"""A line of the ridge filter: so far above the noise of light, at least so many voxels."""


def reference(number: int) -> Phantom:
    """Grow a trunk with three branches in dark tissue, among bright blobs."""
    rng = np.random.default_rng([FIRST_SEED + number, 6])
    share = np.linspace(0, 1, 12)
    wave = 64 + 20 * np.sin(3 * share + rng.uniform(0, 6))
    nodes = np.stack([wave, 10 + 100 * share, 8 + 112 * share], axis=1).tolist()
    parents = list(range(-1, 11))
    for root in (3, 6, 8):
        place, last = np.array(nodes[root]), root
        course = rng.normal(size=3)
        for _ in range(8):
            course = course / np.linalg.norm(course) + 0.25 * rng.normal(size=3)
            place = place + 9 * course / np.linalg.norm(course)
            nodes.append(place.tolist())
            parents.append(last)
            last = len(nodes) - 1
    settings = PhantomSettings(
        tissue=Tissue(brightness=300, cells=BLOBS, cell_radius=(1.5, 4.0)),
        neurites=Neurites(soma=False),
        camera=Camera(offset=150),
    )
    return Phantom(SHAPE, [Forest(nodes, parents)], settings, seed=FIRST_SEED + number)


def gaps_and_blobs(number: int) -> Phantom:
    """Grow four branching axons in default tissue, with cells half as bright again."""
    seed = FIRST_SEED + number
    rng = np.random.default_rng([seed, 5])
    around = Box.of_shape(SHAPE).grow(40)
    growth = Growth(length=400.0, persistence=60.0, branching=0.01)
    roots = rng.uniform(0, SHAPE, (4, 3))
    forests = [grow(growth, rng, root=tuple(root), bounds=around) for root in roots]
    tissue = Tissue(cells=BLOBS, cell_brightness=1000)
    settings = PhantomSettings(tissue=tissue, neurites=Neurites(soma=False))
    return Phantom(SHAPE, forests, settings, seed=seed)


SCENES: Mapping[str, tuple[Callable[[int], Phantom], int]] = {
    "reference": (reference, 2),
    "gaps and blobs": (gaps_and_blobs, 4),
    "tangle": (recipe, 2),
}
"""How a phantom of each scene is made, and how many there are."""


@dataclass(frozen=True)
class Table:
    """Scores under a heading."""

    title: str
    scores: MarkerScores
    picture: str = ""
    """Name of its picture, if it has one."""

    def __str__(self) -> str:
        return f"{self.title}\n{self.scores}\n"


def phantoms(name: str, predict: Predict, presets: Sequence[str]) -> Iterable[Table]:
    """Click into all phantoms of a scene, with the model's map and, of the first, the true one."""
    make, count = SCENES[name]
    drawn = [make(number) for number in range(count)]
    maps = [predict(phantom.image()) for phantom in drawn]
    picture = "clicks-phantom.png" if name == "gaps and blobs" else ""
    yield Table(f"{name}, map of the model", pooled(drawn, maps, presets), picture)
    if name == "reference":
        true = [phantom.distance(clip=10.0) for phantom in drawn]
        yield Table(f"{name}, true map", pooled(drawn, true, presets))


def pooled(
    drawn: Sequence[Phantom], maps: Sequence[NDArray[np.float32]], presets: Sequence[str]
) -> MarkerScores:
    """Click into phantoms, each a brain of its own, and count all clicks together."""
    parts, example = [], None
    for phantom, distance in zip(drawn, maps, strict=True):
        rng = np.random.default_rng([CLICKS.seed, phantom.seed])
        raw, graph = phantom.image(), phantom.graph(phantom.bounds)
        low = (CLICKS.margin,) * 3
        aims = random_aims(graph, low, np.subtract(SHAPE, 1 + CLICKS.margin), CLICKS.rays, rng)
        landed, shown = click_view(
            raw,
            stored(distance),
            graph,
            random_rays(aims, SHAPE, rng, jitter=CLICKS.jitter),
            {Path(name).stem: (_settings(name), window(raw, _settings(name))) for name in presets},
            example=USUAL,
        )
        parts.append(landed)
        example = example or shown
    return MarkerScores(
        {display: Landed.join([part[display] for part in parts]) for display in parts[0]},
        SHAPE,
        tuple(phantom.bounds for phantom in drawn),
        unexplored=0,
        seed=CLICKS.seed,
        example=example,
    )


def stored(distance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round distances as a distance map on disk does."""
    encoding = Encoding("uint8", 10.0)
    return encoding.decode(encoding.encode(distance))


def window(raw: NDArray[np.uint16], settings: OverlaySettings) -> Window:
    """Return the intensities that an export of this volume shows."""
    percentiles = intensity_statistics(voxel_histogram(raw))["percentiles"]
    low, high = (percentiles[f"{p:g}"] for p in (settings.low_percentile, settings.high_percentile))
    return Window(low, high)


def sample(model: str, folder: Path, presets: Sequence[str]) -> Iterable[Table]:
    """Convert, walk and trace the sample of the demo, and click into it."""
    brain, distance = folder / "brain.ome.zarr", folder / "distance.ome.zarr"
    convert(SAMPLE, brain, spacing=(1.0, 1.0, 1.0))
    settings = InferSettings(chunk=64, inner_chunk=64)
    infer(brain, distance, model=model, seed_source="auto", settings=settings, scheduler="sync")
    traced, ridges = folder / "traced.swc", folder / "ridges.swc"
    trace(distance, traced, units="voxel")
    write_swc(ridges, ridge_lines(brain))
    for title, truth, picture in (
        ("lines of a ridge filter", ridges, "clicks-sample.png"),
        ("lines of the model", traced, ""),
    ):
        scores = evaluate_markers(
            distance, truth, brain, presets=presets, example=USUAL, units="voxel"
        )
        yield Table(f"sample, {title}", scores, picture)


def ridge_lines(brain: Path) -> Forest:
    """Lines of a volume that no network was asked about: long ridges, thinned."""
    from neuroconn.volume import open_image

    image = open_image(brain)
    raw = np.asarray(image.array(0)[:])
    spacing = image.frame.spacing_um
    around = np.pad(raw, [(n, n) for n in halo(spacing)], mode="reflect")
    narrow, wide, _ = responses(around, spacing)
    mask = ndimage.binary_closing(np.maximum(narrow, wide) > _RIDGE)
    lines = skeleton(mask)
    graph = voxel_graph(np.argwhere(cc3d.dust(lines, threshold=_LONGEST, connectivity=26)))
    return spanning_forest(graph.positions, graph.edges)


def spanning_forest(positions: NDArray[np.float64], edges: NDArray[np.int64]) -> Forest:
    """Cut the loops of a graph, so that it can be written as SWC."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import breadth_first_order, connected_components

    count = len(positions)
    matrix = coo_matrix((np.ones(len(edges)), edges.T), shape=(count, count)).tocsr()
    labels = connected_components(matrix, directed=False)[1]
    parents = np.full(count, -1)
    for root in np.unique(labels, return_index=True)[1]:
        order, before = breadth_first_order(matrix, root, directed=False)
        parents[order[1:]] = before[order[1:]]
    return Forest(positions, parents)


def _settings(name: str) -> OverlaySettings:
    return read_settings(OverlaySettings, find_preset("overlay", name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Click everywhere, print tables or one JSON object, draw."""
    options = parse(arguments)
    predict = predictor(options.model, threads=options.threads)
    found: dict[str, object] = {}
    words: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for scene in options.scene:
            if scene == "sample":
                tables = sample(options.model, Path(folder), options.preset)
            else:
                tables = phantoms(scene, predict, options.preset)
            for table in tables:
                found[table.title] = table.scores.as_dict()
                words.append(str(table))
                if not options.json:
                    print(table, flush=True)
                if options.figures is not None and table.picture:
                    draw(options.figures, table)
    if options.json:
        print(json.dumps(found))
    if options.page is not None:
        options.page.write_text(put_into(options.page.read_text(), "\n".join(words)))
    return 0


def draw(folder: Path, table: Table) -> None:
    """Draw the first view of a table."""
    folder.mkdir(parents=True, exist_ok=True)
    if table.scores.example is not None:
        save_png(folder / table.picture, draw_clicks(table.scores.example))


def put_into(page: str, tables: str) -> str:
    """Replace the tables of a page: its first block of text after a line that says they follow."""
    before, line, rest = page.partition(TABLES_FOLLOW)
    if not line:
        raise ValueError(
            f"the page has no line {TABLES_FOLLOW!r}, so nobody knows where to put them"
        )
    _, _, after = rest.partition("```text\n")
    return f"{before}{line}\n\n```text\n{tables.rstrip()}\n```{after.partition('```')[2]}"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    grey = [n for n in list_presets("overlay")["overlay"] if _settings(n).colour == "grey"]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    scenes = [*SCENES, "sample"]
    parser.add_argument("--model", default="default", help="folder or name of a shipped model")
    parser.add_argument("--scene", nargs="+", choices=scenes, default=scenes)
    parser.add_argument("--preset", nargs="+", default=grey, help="names or YAML files")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--figures", type=Path, help="folder for pictures")
    parser.add_argument("--page", type=Path, help="Markdown page to put the tables into")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
