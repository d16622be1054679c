"""neuroconn: distance maps of neurites that do not break axons.

The names below are the tour, in the order of a day's work. Each is imported when first used, so
that ``import neuroconn`` costs nothing; the verbs are also commands of ``neuroconn --help``.

>>> import neuroconn
>>> neuroconn.convert("slices/", "brain.ome.zarr", spacing=(2.5, 1.3, 1.3))  # doctest: +SKIP
>>> seeds = [(100, 2000, 3000)]
>>> neuroconn.infer("brain.ome.zarr", "distance.ome.zarr", seeds=seeds)  # doctest: +SKIP
>>> neuroconn.open_volume("distance.ome.zarr")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from neuroconn._version import __version__

if TYPE_CHECKING:
    from neuroconn.annotation import Forest, read_forest
    from neuroconn.demonstration import demo
    from neuroconn.evaluation import evaluate
    from neuroconn.exporter import export
    from neuroconn.geometry import Box, ChunkGrid, Frame
    from neuroconn.inference.output.status import status
    from neuroconn.inference.output.verify import verify
    from neuroconn.inference.rehearsal.rehearse import rehearse
    from neuroconn.inference.run import infer
    from neuroconn.network import load_model
    from neuroconn.phantom import Phantom, random_phantom
    from neuroconn.tracing import trace
    from neuroconn.training import train
    from neuroconn.training.dataset import dataset
    from neuroconn.vaa3d.conformance import check_vaa3d, repair_vaa3d
    from neuroconn.view.report import report
    from neuroconn.volume import (
        convert,
        info,
        open_image,
        open_pyramid,
        open_source,
        open_volume,
        verify_against,
        verify_image,
    )

_HOME = {
    "Box": "geometry",
    "ChunkGrid": "geometry",
    "Forest": "annotation",
    "Frame": "geometry",
    "Phantom": "phantom",
    "check_vaa3d": "vaa3d.conformance",
    "convert": "volume",
    "dataset": "training.dataset",
    "demo": "demonstration",
    "evaluate": "evaluation",
    "export": "exporter",
    "infer": "inference.run",
    "info": "volume",
    "load_model": "network",
    "open_image": "volume",
    "open_pyramid": "volume",
    "open_source": "volume",
    "open_volume": "volume",
    "random_phantom": "phantom",
    "read_forest": "annotation",
    "rehearse": "inference.rehearsal.rehearse",
    "repair_vaa3d": "vaa3d.conformance",
    "report": "view.report",
    "status": "inference.output.status",
    "trace": "tracing",
    "train": "training",
    "verify": "inference.output.verify",
    "verify_against": "volume",
    "verify_image": "volume",
}

__all__ = [
    "Box",
    "ChunkGrid",
    "Forest",
    "Frame",
    "Phantom",
    "__version__",
    "check_vaa3d",
    "convert",
    "dataset",
    "demo",
    "evaluate",
    "export",
    "infer",
    "info",
    "load_model",
    "open_image",
    "open_pyramid",
    "open_source",
    "open_volume",
    "random_phantom",
    "read_forest",
    "rehearse",
    "repair_vaa3d",
    "report",
    "status",
    "trace",
    "train",
    "verify",
    "verify_against",
    "verify_image",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
