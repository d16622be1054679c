"""Models made elsewhere: what has to be known of a TorchScript or ONNX file. Free of torch.

A file of weights says neither how its input is normalised nor what its output means. That stands in
a JSON card beside it (``NAME.json`` for ``NAME.pt`` or ``NAME.onnx``, a
:class:`~neuroconn.network.card.ModelCard`), or in the description of a bioimage.io package.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import lcm
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from neuroconn.config import Settings
from neuroconn.errors import ModelError

SUFFIXES = {".pt": "torchscript", ".ts": "torchscript", ".pth": "torchscript", ".onnx": "onnx"}
"""Files that are tried as models made elsewhere, by their ending."""


class Foreign(Settings):
    """The ``architecture`` in the card of a model made elsewhere."""

    name: Literal["torchscript", "onnx"]
    """Format of the file."""
    stride: int = Field(default=1, ge=1, le=256)
    """Pooling grid: sides and origins of tiles are multiples of it."""
    halo: int | None = Field(default=None, ge=0)
    """Context around a core, on the pooling grid, its voxels depend on. Measured if missing."""
    margin: int = Field(default=0, ge=0)
    """Voxels at the faces of a tile that its makers say are wrong; a run's halo is not below it."""
    tile: tuple[int, int, int] | None = None
    """The only shape (z, y, x) it takes, if it takes one only."""
    channel: int | None = Field(default=None, ge=0)
    """Which channel of its output is the map; needed where there is more than one."""
    output: Literal["distance", "probability"] = "distance"
    """distance: to the nearest neurite. probability: of neurite; a map of ``clip * (1 - p)``."""
    scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """distance: voxels per unit of output."""
    memory: int | None = Field(default=None, ge=1)
    """Bytes that a voxel of a tile takes at the peak. Measured or guessed if missing."""
    input_name: str = ""
    """ONNX: which input takes the image; needed where there is more than one."""
    output_name: str = ""
    """ONNX: which output is the map; the first if not given."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A file in memory, and where it came from."""

    data: bytes
    source: str

    @property
    def sha256(self) -> str:
        """Digest of the file."""
        return hashlib.sha256(self.data).hexdigest()


def is_foreign(path: Path) -> bool:
    """Whether this looks like a model made elsewhere: a file, or a bioimage.io package."""
    if path.is_dir():
        described = any((path / name).is_file() for name in ("rdf.yaml", "bioimageio.yaml"))
        return described and not (path / "model.json").is_file()
    return path.suffix.lower() in {*SUFFIXES, ".zip"} or path.name in {
        "rdf.yaml",
        "bioimageio.yaml",
    }


def description(architecture: Mapping[str, Any], where: object) -> Foreign:
    """Read the architecture of a card.

    Raises
    ------
    ModelError
        If it is not complete, naming the field.
    """
    try:
        return Foreign.model_validate(dict(architecture))
    except ValidationError as error:
        item = error.errors()[0]
        field = ".".join(map(str, item["loc"])) or "architecture"
        raise ModelError(
            f"model card {where}: architecture.{field}: {item['msg']}. A model made elsewhere "
            'needs {"name": "torchscript" or "onnx", "stride": its pooling grid in voxels}.'
        ) from None


def read_weights(path: Path, format_name: str) -> Weights:
    """Read a file of weights, and refuse one that is pickled or something else altogether.

    Raises
    ------
    ModelError
        If it cannot be read, or is not of this format.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"model {path} cannot be read: {error.strerror or error}") from None
    return checked(Weights(data, str(path)), format_name)


def checked(weights: Weights, format_name: str) -> Weights:
    """Refuse weights that are not of the named format."""
    if format_name == "torchscript":
        _check_torchscript(weights)
    elif not weights.data[:1] or weights.data[:2] == b"PK":
        raise ModelError(f"{weights.source} is not an ONNX file")
    return weights


def check_digest(weights: Weights, sha256: str | None) -> str:
    """Compare weights with the digest their description gives.

    Raises
    ------
    ModelError
        If it gives none or another one.
    """
    found = weights.sha256
    if not sha256:
        raise ModelError(
            f"the description of {weights.source} gives no SHA-256, so damage would go unnoticed: "
            f'if this is the file you mean, add "sha256": "{found}"'
        )
    if found != sha256.lower():
        raise ModelError(
            f"{weights.source} has SHA-256 {found[:12]}… but its description says "
            f"{sha256[:12]}…: the file was damaged or replaced. Copy both again, together."
        )
    return found


def common_stride(steps: list[int]) -> int:
    """Return the smallest grid that all axes fit."""
    return lcm(*(max(1, step) for step in steps))


def _check_torchscript(weights: Weights) -> None:
    """Refuse a file that holds no code, as a pickled checkpoint does not."""
    try:
        with zipfile.ZipFile(io.BytesIO(weights.data)) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        names = []
    if any("/code/" in name for name in names) and any(
        name.endswith("/constants.pkl") for name in names
    ):
        return
    raise ModelError(
        f"{weights.source} is a pickled checkpoint or damaged, not TorchScript: a pickle can run "
        "code when opened and is never read. Save the network with torch.jit.save, or its state "
        "dict with neuroconn.network.save_model."
    )
