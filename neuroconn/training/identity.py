"""Whether a folder holds the run that the settings describe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from neuroconn.config.train import TrainSettings
from neuroconn.errors import OutputError

FREE = frozenset({"checkpoint_every", "pictures_every", "workers", "tensorboard"})
"""Settings that change nothing of what is learnt; a run may be taken up with others."""


def check_same_run(stored: Mapping[str, Any], settings: TrainSettings, where: str) -> None:
    """Refuse to go on with a run that would not be the one it started as.

    Parameters
    ----------
    stored : mapping
        Settings that the run was started with, as JSON.
    settings : TrainSettings
        Settings it is to be continued with. Those of :data:`FREE` may differ, and ``iterations``
        if the learning rate does not depend on them.
    where : str
        The folder, for messages.

    Raises
    ------
    OutputError
        Naming every setting that differs.
    """
    wanted, found = settings.model_dump(mode="json"), _read(stored)
    differ = sorted(_differences(found, wanted))
    if differ == ["iterations"] and settings.optimiser.needs_the_end:
        raise OutputError(
            f"{where} holds a run of {found['iterations']} iterations, whose learning rate depends "
            f"on their number (optimiser.schedule or optimiser.cooldown): with "
            f"{settings.iterations} it would be another run. Choose another folder."
        )
    if differ and differ != ["iterations"]:
        raise OutputError(
            f"{where} holds a run with another {', '.join(differ)}: choose another folder, or "
            "repeat the settings to resume it"
        )


def _read(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fill in what did not exist when the run was started, if this version knows the rest."""
    try:
        return TrainSettings.model_validate(stored).model_dump(mode="json")
    except ValidationError:
        return stored


def _differences(
    found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    for key in {*found, *wanted} - (FREE if not prefix else set()):
        here, there = found.get(key), wanted.get(key)
        if here == there:
            continue
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            yield from _differences(here, there, f"{prefix}{key}.")
        else:
            yield prefix + key
