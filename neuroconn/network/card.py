"""The model card: what a file of weights is, beside it as JSON. Free of torch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from neuroconn.config import Settings
from neuroconn.errors import ModelError
from neuroconn.network.foreign import is_foreign
from neuroconn.network.normalisation import Normalisation

WEIGHTS = "model.safetensors"
CARD = "model.json"
SHIPPED = Path(__file__).resolve().parents[1] / "models"
"""Folder of the models that come with the package; ``default`` is one of them."""

_PICKLED = {".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin", ".tar"}


class ModelCard(Settings):
    """What the weights beside it are, were trained on, and score."""

    schema_version: Literal[1] = 1
    """Version of this card's layout."""
    name: str = Field(min_length=1)
    """Short name, for reports."""
    description: str = ""
    """One paragraph: what it is good for, and what it was not tried on."""
    architecture: dict[str, Any] = Field(default_factory=dict)
    """Network name and arguments; filled in when the model is saved."""
    clip: float = Field(gt=0, allow_inf_nan=False)
    """Where the distances it was trained on are cut off, in voxels."""
    normalisation: Normalisation
    """How grey values become its input."""
    spacing_um: tuple[float, float, float]
    """Voxel size (z, y, x) it was trained at, in micrometres."""
    training: dict[str, Any] = Field(default_factory=dict)
    """Data, steps, loss and seed of the training run."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Packages, machine, sources and losses of the training run."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Metrics on volumes it was not trained on."""
    licence: str = "BSD-3-Clause"
    """Terms the weights come under."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Packages that wrote the weights; filled in when the model is saved."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Digest of the weights file; filled in when the model is saved."""

    @field_validator("spacing_um")
    @classmethod
    def _positive(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if not all(math.isfinite(v) and v > 0 for v in value):
            raise ValueError(f"spacing must be finite and positive, got {value}")
        return value


def find_model(path: str | Path) -> tuple[Path, Path]:
    """Return the card and the weights of a model.

    Parameters
    ----------
    path : str or Path
        A folder, either of its two files, or the bare name of a shipped model (``"default"``).

    Returns
    -------
    (Path, Path)
        The JSON card and the safetensors weights; both exist.

    Raises
    ------
    ModelError
        If either file is missing, or the path is a pickled checkpoint.
    """
    given = Path(path).expanduser()
    if given.suffix in _PICKLED:
        raise ModelError(
            f"{given} is a pickled checkpoint, which can run code when opened and is never read: "
            "load its state dict in a place you trust and save it with neuroconn.network.save_model"
        )
    card, weights = _candidates(given, str(path))
    missing = [p for p in (card, weights) if not p.is_file()]
    if missing:
        raise ModelError(
            f"no model at {path}: {' and '.join(map(str, missing))} missing. Give a folder that "
            f"holds {CARD} and {WEIGHTS}, or leave --model out for the shipped one."
        )
    return card, weights


def load_card(path: str | Path) -> ModelCard:
    """Read the card of a model without its weights.

    Parameters
    ----------
    path : str or Path
        As for :func:`neuroconn.network.load_model`.

    Raises
    ------
    ModelError
        If the model is missing, or its card is not JSON or lacks a needed field.
    """
    given = Path(path).expanduser()
    if is_foreign(given):
        # Imported here: it needs this module.
        from neuroconn.network.foreign_card import find_foreign

        return find_foreign(given).card
    card, _ = find_model(path)
    return read_card(card)


def read_card(path: Path) -> ModelCard:
    """Read the JSON card of a model of this package; see :func:`load_card`."""
    card = parse_card(path)
    needed = {"architecture": card.architecture, "sha256": card.sha256}
    absent = [name for name, value in needed.items() if not value]
    if absent:
        raise ModelError(
            f"model card {path} lacks {' and '.join(absent)}: the weights cannot be checked or "
            "loaded. Restore the card saved with them."
        )
    return card


def parse_card(path: Path) -> ModelCard:
    """Read a JSON card, complete or not."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"model card {path} cannot be read as JSON: {error}") from None
    try:
        return ModelCard.model_validate(data)
    except ValidationError as error:
        reasons = "; ".join(_reason(item) for item in error.errors())
        raise ModelError(
            f"model card {path} is not complete ({reasons}): without it the weights cannot be used "
            "as they were trained. Restore the card saved with them."
        ) from None


def _candidates(given: Path, name: str) -> tuple[Path, Path]:
    if given.suffix in {".json", ".safetensors"} and not given.is_dir():
        return given.with_suffix(".json"), given.with_suffix(".safetensors")
    shipped = SHIPPED / name
    bare = len(given.parts) == 1 and name not in {".", ".."}
    folder = shipped if bare and not given.is_dir() and shipped.is_dir() else given
    return folder / CARD, folder / WEIGHTS


def _reason(item: Any) -> str:
    where = ".".join(map(str, item["loc"])) or "card"
    return f"{where}: {item['msg']}"
