"""What a trained model says about itself."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from neuroconn.config.train import TrainSettings
from neuroconn.inference.identity import brain_identity, digest
from neuroconn.network import ModelCard
from neuroconn.training.dataset.reading import open_dataset
from neuroconn.training.loader import normalisation_of
from neuroconn.training.ranks import Ranks
from neuroconn.volume import open_image

_PACKAGES = ("neuroconn", "numpy", "scipy", "numba", "scikit-image", "zarr", "torch")


def make_card(
    settings: TrainSettings, scores: Mapping[str, float], provenance: Mapping[str, Any]
) -> ModelCard:
    """Return the card of weights with these scores; NaN scores are left out."""
    return ModelCard(
        name=settings.name,
        clip=settings.clip,
        normalisation=normalisation_of(settings),
        spacing_um=settings.spacing_um,
        training=settings.model_dump(mode="json"),
        scores={name: value for name, value in scores.items() if value == value},
        provenance=dict(provenance),
    )


def provenance(settings: TrainSettings, ranks: Ranks) -> dict[str, Any]:
    """Say with what, on what and from what a run was made, as JSON values.

    Returns
    -------
    dict
        ``packages``, ``machine``, ``sources``.
    """
    device = ranks.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "packages": {p: _version(p) for p in _PACKAGES},
        "machine": {
            "python": platform.python_version(),
            "device": f"{device.type} ({name})",
            "processes": ranks.world,
            "threads": torch.get_num_threads(),
        },
        "sources": _sources(settings),
    }


def _sources(settings: TrainSettings) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if settings.phantoms.weight:
        found.append({"phantoms": f"drawn from seed {settings.seed}"})
    for brain in settings.brains:
        image = open_image(brain.brain)
        identity = digest(brain_identity(image, 0))
        found.append({"brain": brain.brain, "identity": identity, "swc": list(brain.swc)})
    for tissue in settings.tissues:
        identity = digest(brain_identity(open_image(tissue.brain), 0))
        what = tissue.model_dump(mode="json", include={"part", "distance", "labels"})
        found.append({"tissue": tissue.brain, "identity": identity, **what})
    for source in settings.datasets:
        dataset = open_dataset(source.path)
        what = {"brains": list(dataset.brains), "size": dataset.size, "clip": dataset.clip}
        found.append({"dataset": source.path, "identity": digest(what)})
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
