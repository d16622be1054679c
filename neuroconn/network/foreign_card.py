"""The card of a model made elsewhere, from JSON beside it or from its package. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from neuroconn.errors import ModelError
from neuroconn.network.card import ModelCard, parse_card
from neuroconn.network.foreign import (
    SUFFIXES,
    Foreign,
    Weights,
    check_digest,
    checked,
    description,
    read_weights,
)
from neuroconn.network.package import DESCRIPTIONS, Package, open_package
from neuroconn.network.rdf import card_fields


@dataclass(frozen=True, slots=True)
class ForeignModel:
    """A model made elsewhere, described and not loaded."""

    card: ModelCard
    about: Foreign
    package: Package | None
    file: str
    """Path of the weights, in the package if there is one."""

    def weights(self) -> Weights:
        """Read the weights and check format and digest.

        Raises
        ------
        ModelError
            If they are missing, damaged, pickled, or not those the description means.
        """
        if self.package is None:
            found = read_weights(Path(self.file), self.about.name)
        else:
            found = checked(self.package.weights(self.file), self.about.name)
        check_digest(found, self.card.sha256)
        return found


def find_foreign(path: Path) -> ForeignModel:
    """Describe a TorchScript or ONNX file, or a bioimage.io package.

    Parameters
    ----------
    path : Path
        ``NAME.pt`` or ``NAME.onnx`` with ``NAME.json`` beside it; a folder or zip with an
        ``rdf.yaml`` or ``bioimageio.yaml``; or that description itself.

    Raises
    ------
    ModelError
        If the description is missing or not complete.
    """
    if path.is_dir() or path.suffix.lower() == ".zip" or path.name in DESCRIPTIONS:
        return _from_package(path)
    format_name = SUFFIXES[path.suffix.lower()]
    weights = read_weights(path, format_name)
    file = path.with_suffix(".json")
    if not file.is_file():
        raise ModelError(
            f"{path} has no card {file.name} beside it, which says how its input is normalised and "
            f'what its output means. It needs name, architecture (with "name": "{format_name}" and '
            f'"stride"), clip, normalisation, spacing_um and "sha256": "{weights.sha256}".'
        )
    card = parse_card(file)
    if not card.sha256:
        check_digest(weights, None)
    about = description(card.architecture, file)
    if about.name != format_name:
        raise ModelError(f"card {file} is of a {about.name} model, {path} is {format_name}")
    return ForeignModel(_with(card, about), about, None, str(path))


def _from_package(path: Path) -> ForeignModel:
    package = open_package(path)
    try:
        fields, file = card_fields(package.description())
        card = ModelCard.model_validate(fields)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except ValidationError as error:
        item = error.errors()[0]
        where = ".".join(map(str, item["loc"]))
        raise ModelError(f"{path}: {where} of the description: {item['msg']}") from None
    about = description(card.architecture, path)
    model = ForeignModel(_with(card, about), about, package, file)
    if not card.sha256:
        model.weights()
    return model


def _with(card: ModelCard, about: Foreign) -> ModelCard:
    """Return the card with every field of the description, which decide the answer."""
    full: dict[str, Any] = about.model_dump(mode="json")
    return card.model_copy(update={"architecture": full})
