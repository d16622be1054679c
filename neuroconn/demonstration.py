"""The main job on a small real volume: convert, infer, export, and look.

The crop is 80 x 160 x 256 voxels of cleared mouse brain with labelled axons; its origin and licence
are beside it in ``neuroconn/data``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.config import find_preset, list_presets
from neuroconn.config.base import read_settings
from neuroconn.config.infer import InferSettings
from neuroconn.config.overlay import OverlaySettings
from neuroconn.geometry import ChunkGrid
from neuroconn.view import chunk_map, nearness, projection, save_png, side_by_side, stretch

SAMPLE = Path(__file__).resolve().parent / "data" / "trailmap_axons.tif"
SEED = (42, 40, 235)
"""A voxel on an axon of the sample."""
CHUNK = 32
"""Small chunks: the halo then costs most of the time, but a crop this small has unexplored ones."""

SENTENCES = {
    "convert": f"{SAMPLE.name} (mouse-brain axons, light-sheet) becomes an OME-Zarr brain with a "
    "pyramid and its intensity statistics.",
    "infer": f"from one seed voxel {SEED} the walk predicts a chunk, looks through which faces "
    "neurites leave it, and goes on there. Chunks nobody leads to are never read.",
    "export": "brain and distance map are mixed into one volume in which neurites stand out, as a "
    "TeraFly tree of uint16 tiles that Vaa3D opens.",
    "figures": "projections of the brain, of the distance map, and of the overlay at every preset.",
}
"""What each step is for, said before it starts."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoReport:
    """What the demo made and how long it took."""

    folder: Path
    brain: Path
    distance: Path
    tiles: Path
    figures: list[Path]
    chunks: int
    """Chunks of the grid."""
    visited: int
    """Chunks the walk predicted."""
    neurite: int
    """Chunks that hold a neurite."""
    seconds: dict[str, float]
    """Wall time of each step."""

    def rows(self) -> list[tuple[str, str]]:
        """Return the summary as rows of a table."""
        took = ", ".join(f"{name} {value:.1f} s" for name, value in self.seconds.items())
        return [
            ("chunks visited", f"{self.visited} of {self.chunks}"),
            ("chunks with neurites", str(self.neurite)),
            ("time", took),
            ("brain", f"{self.brain} ({megabytes(self.brain)})"),
            ("distance map", f"{self.distance} ({megabytes(self.distance)})"),
            ("Vaa3D tiles", f"{self.tiles} ({megabytes(self.tiles)})"),
            ("figures", str(self.folder / "figures")),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "folder": str(self.folder),
            "brain": str(self.brain),
            "distance": str(self.distance),
            "tiles": str(self.tiles),
            "figures": [str(path) for path in self.figures],
            "chunks": self.chunks,
            "visited": self.visited,
            "neurite": self.neurite,
            "seconds": self.seconds,
        }


def demo(folder: str | Path = "demo", *, scheduler: str = "local", say: Say = print) -> DemoReport:
    """Run the whole system on the sample that comes with the package.

    Run again with the same folder it finds everything done and draws the figures anew.

    Parameters
    ----------
    folder : path, optional
        Where everything goes; created if missing.
    scheduler : str, optional
        As for :func:`neuroconn.infer`.
    say : callable, optional
        Receives one sentence before each step.

    Returns
    -------
    DemoReport
    """
    # Imported here: each step waits only for what it needs.
    from neuroconn.exporter import export
    from neuroconn.inference import infer
    from neuroconn.volume import convert

    folder = Path(folder)
    brain, distance = folder / "brain.ome.zarr", folder / "distance.ome.zarr"
    tiles, settings = folder / "terafly", InferSettings(chunk=CHUNK, inner_chunk=CHUNK)
    seconds: dict[str, float] = {}

    def step(name: str, work: Callable[[], Any]) -> Any:
        say(f"{len(seconds) + 1}/{len(SENTENCES)} {name}: {SENTENCES[name]}")
        began = time.monotonic()
        result = work()
        seconds[name] = time.monotonic() - began
        return result

    step("convert", lambda: convert(SAMPLE, brain))
    report = step(
        "infer",
        lambda: infer(brain, distance, seeds=[SEED], settings=settings, scheduler=scheduler),
    )
    step("export", lambda: export(brain, distance, tiles))
    return DemoReport(
        folder=folder,
        brain=brain,
        distance=distance,
        tiles=tiles,
        figures=step("figures", lambda: draw(brain, distance, folder / "figures")),
        chunks=sum(report.chunks.values()),
        visited=report.visited,
        neurite=report.chunks["neurite"],
        seconds=seconds,
    )


def draw(brain: Path, distance: Path, folder: Path, *, enlarge: int = 3) -> list[Path]:
    """Draw projections of a brain, its distance map and its overlays.

    Small volumes only: they are read whole.

    Parameters
    ----------
    brain, distance : path
        OME-Zarr brain and its distance map.
    folder : path
        Where ``brain.png``, ``distance.png``, ``chunks.png``, ``overlay-*.png`` and, three of them
        in a row, ``summary.png`` go.
    enlarge : int, optional
        Pixels per voxel.

    Returns
    -------
    list of Path
    """
    from neuroconn.exporter.pair import intensity_window
    from neuroconn.vaa3d.overlay import overlay, rgb
    from neuroconn.volume import open_image, open_volume

    folder.mkdir(parents=True, exist_ok=True)
    image = open_image(brain)
    raw = np.asarray(image.array(0)[:])
    near = open_volume(distance).to_numpy()
    clip = float(open_image(distance).attributes["clip"])
    pictures: dict[str, NDArray[np.uint8]] = {
        "brain": stretch(projection(raw)),
        "distance": nearness(projection(near, minimum=True), clip=clip),
        "chunks": _map_of(distance),
    }
    for name in list_presets("overlay")["overlay"]:
        settings = read_settings(OverlaySettings, find_preset("overlay", name))
        window = intensity_window(image, settings)
        if settings.colour == "rgb":
            pictures[f"overlay-{name}"] = projection(rgb(raw, near, settings, window))
        else:
            mixed = overlay(raw, near, settings, window, dtype=np.uint8)
            pictures[f"overlay-{name}"] = projection(mixed)
    shown = ("brain", "distance", "overlay-clip-6-power-2")
    pictures["summary"] = side_by_side([pictures[name] for name in shown])
    return [
        save_png(folder / f"{name}.png", picture, enlarge=1 if name == "chunks" else enlarge)
        for name, picture in pictures.items()
    ]


def megabytes(folder: Path) -> str:
    """Size of everything below a folder, for people."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{size / 1e6:.1f} MB"


def _map_of(distance: Path) -> NDArray[np.uint8]:
    from neuroconn.inference.journal.journal import Journal
    from neuroconn.volume import open_image

    image = open_image(distance)
    grid = ChunkGrid(image.levels[0].shape, (CHUNK, CHUNK, CHUNK))
    states: dict[str, list[tuple[int, int, int]]] = {}
    for record in Journal.read(distance / "run").records():
        states.setdefault(record.status, []).append(record.index)
    return chunk_map(grid, states, pixels=32)
