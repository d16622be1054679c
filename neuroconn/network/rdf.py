"""A bioimage.io model description (versions 0.4 and 0.5) as a model card. Free of torch.

Only what a run depends on is read, and read strictly: a description that asks for something a map
of a whole brain cannot keep, such as normalisation of single planes, is refused with the reason.

The format does not say where a distance map is cut off; that stands under ``config``::

    config:
      neuroconn: {clip: 10, output: distance, scale: 1, spacing_um: [2, 1, 1], halo: 48}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError

from neuroconn.config import Settings
from neuroconn.errors import ModelError
from neuroconn.network.foreign import common_stride
from neuroconn.network.rdf_processing import normalisation_of, scale_of

_SPACE = ("z", "y", "x")
_FORMATS = ("torchscript", "onnx")


class Extra(Settings):
    """What ``config.neuroconn`` may say."""

    clip: float = Field(gt=0, allow_inf_nan=False)
    output: Literal["distance", "probability"] = "distance"
    scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    spacing_um: tuple[float, float, float] | None = None
    halo: int | None = Field(default=None, ge=0)
    channel: int | None = Field(default=None, ge=0)


def card_fields(rdf: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Translate a description.

    Parameters
    ----------
    rdf : mapping
        The parsed YAML.

    Returns
    -------
    (dict, str)
        Fields of a model card, and the name of the weights file in the package.

    Raises
    ------
    ModelError
        Naming what is missing or cannot be kept.
    """
    _check_kind(rdf)
    extra = _extra(rdf)
    image, result = _only(rdf, "inputs"), _only(rdf, "outputs")
    axes = _axes(image, "input")
    sizes = [_size(axis) for axis in axes]
    fixed = tuple(size for size, step in sizes if step is None)
    if fixed and len(fixed) != 3:
        raise ModelError("the input has fixed sides along some axes only; fix all three or none")
    name, weights = _weights(rdf)
    architecture = {
        "name": name,
        "stride": common_stride([step or 1 for _, step in sizes]),
        "halo": extra.halo,
        "margin": max(_margins(result)),
        "tile": fixed or None,
        "channel": extra.channel,
        "output": extra.output,
        "scale": extra.scale * scale_of(result.get("postprocessing")),
    }
    card = {
        "name": str(rdf.get("name") or "bioimage.io model"),
        "description": str(rdf.get("description") or ""),
        "architecture": architecture,
        "clip": extra.clip,
        "normalisation": normalisation_of(image.get("preprocessing")),
        "spacing_um": extra.spacing_um or _spacing(axes),
        "licence": str(rdf.get("license") or "unknown"),
        "sha256": weights.get("sha256"),
    }
    return card, str(weights["source"])


def _check_kind(rdf: Mapping[str, Any]) -> None:
    version = str(rdf.get("format_version", ""))
    if rdf.get("type", "model") != "model" or not version.startswith(("0.4.", "0.5.")):
        raise ModelError(
            f"the package describes a {rdf.get('type')} in format {version or 'unknown'}; "
            "a model in format 0.4 or 0.5 is needed"
        )


def _extra(rdf: Mapping[str, Any]) -> Extra:
    config = rdf.get("config")
    found = config.get("neuroconn") if isinstance(config, Mapping) else None
    if not isinstance(found, Mapping):
        raise ModelError(
            "the package does not say where its distances are cut off: add `config: {neuroconn: "
            "{clip: 10, output: distance}}` to its description (output: probability for a model "
            "of neurite)"
        )
    try:
        return Extra.model_validate(dict(found))
    except ValidationError as error:
        item = error.errors()[0]
        where = ".".join(map(str, item["loc"]))
        raise ModelError(f"config.neuroconn.{where} of the package: {item['msg']}") from None


def _only(rdf: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = rdf.get(key)
    if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], Mapping):
        count = len(found) if isinstance(found, list) else "no"
        raise ModelError(
            f"the package has {count} {key}; a model of one image and one map is needed"
        )
    return found[0]


def _axes(tensor: Mapping[str, Any], role: str) -> list[Mapping[str, Any]]:
    """Axes z, y, x of a tensor, in version 0.5's form; the others must be of one."""
    found = tensor.get("axes")
    axes: Any = _old_axes(tensor) if isinstance(found, str) else found
    if not isinstance(axes, list) or not all(isinstance(a, Mapping) for a in axes):
        raise ModelError(f"the axes of the {role} are not those of a model description")
    names = [_axis_name(axis) for axis in axes]
    if names != ["batch", "channel", *_SPACE]:
        raise ModelError(
            f"the {role} has axes {', '.join(map(str, names))}; batch, channel, z, y, x are needed"
        )
    channels = axes[1].get("channel_names") or axes[1].get("size") or 1
    count = len(channels) if isinstance(channels, Sequence) else channels
    if role == "input" and count != 1:
        raise ModelError(f"the input has {count} channels; brains have one")
    space: list[Mapping[str, Any]] = axes[2:]
    return space


def _old_axes(tensor: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Axes of version 0.4 (a word and lists) in the form of 0.5."""
    kinds = {"b": "batch", "c": "channel"}
    word, shape = str(tensor["axes"]), tensor.get("shape")
    axes: list[dict[str, Any]] = [
        {"type": kinds[letter]} if letter in kinds else {"type": "space", "id": letter}
        for letter in word
    ]
    if isinstance(shape, list) and len(shape) == len(word):
        sizes: list[Any] = list(shape)
    elif isinstance(shape, Mapping) and "min" in shape:
        sizes = [
            {"min": low, "step": step}
            for low, step in zip(shape["min"], shape.get("step", [1] * len(word)), strict=False)
        ]
        sizes = [s["min"] if not s["step"] else s for s in sizes]
    else:
        sizes = [None] * len(word)
    halo = tensor.get("halo") or [0] * len(word)
    for axis, size, margin in zip(axes, sizes, halo, strict=False):
        axis.update(size=size, halo=margin)
    return axes


def _axis_name(axis: Mapping[str, Any]) -> Any:
    return axis.get("id") if axis.get("type") == "space" else axis.get("type")


def _size(axis: Mapping[str, Any]) -> tuple[int, int | None]:
    """Smallest side and step of an axis; no step if only this side is taken."""
    size = axis.get("size")
    if isinstance(size, int) and size > 0:
        return size, None
    if isinstance(size, Mapping) and isinstance(size.get("step"), int) and size["step"] > 0:
        low, step = int(size.get("min", size["step"])), int(size["step"])
        if low % step == 0:
            return low, step
        raise ModelError(f"sides of {low}, {low + step}, … are on no grid that starts at 0")
    raise ModelError(f"axis {axis.get('id')} of the input has no size or step, only {size!r}")


def _margins(tensor: Mapping[str, Any]) -> list[int]:
    margins = [axis.get("halo") or 0 for axis in _axes(tensor, "output")]
    if not all(isinstance(m, int) and m >= 0 for m in margins):
        raise ModelError(f"the halo of the output is {margins}, not voxels")
    return margins


def _weights(rdf: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the first format that can be run, and its entry."""
    found = rdf.get("weights")
    there = found if isinstance(found, Mapping) else {}
    for name in _FORMATS:
        entry = there.get(name)
        if isinstance(entry, Mapping) and entry.get("source"):
            return name, entry
    raise ModelError(
        f"the package holds weights as {', '.join(map(str, there)) or 'nothing'}; "
        f"{' or '.join(_FORMATS)} is needed, since a pickled state dict can run code when opened"
    )


def _spacing(axes: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    scales = [axis.get("scale") for axis in axes]
    units = {axis.get("unit") for axis in axes}
    if units == {"micrometer"} and all(isinstance(s, int | float) for s in scales):
        return tuple(float(s) for s in scales if s is not None)
    raise ModelError(
        "the package does not say the voxel size in micrometres: add spacing_um: [z, y, x] to "
        "config.neuroconn"
    )
