"""What a bioimage.io description does to grey values, as one pair of constants per brain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neuroconn.errors import ModelError
from neuroconn.network.normalisation import Normalisation

_SAMPLE = {"b", "c", "z", "y", "x", "batch", "channel"}
_ALL = {"z", "y", "x"}


def normalisation_of(steps: object) -> Normalisation:
    """Translate the preprocessing of an input.

    A sample is what the model is given; here that is the brain, so statistics of a sample are the
    brain's. Statistics of anything smaller would depend on where a tile lies.

    Raises
    ------
    ModelError
        If a step cannot be replaced by constants of the brain.

    Examples
    --------
    >>> step = {"id": "scale_linear", "kwargs": {"gain": 0.01, "offset": -1}}
    >>> normalisation_of([step]).constants({})
    Constants(curve='affine', offset=100.0, divisor=100.0, scale=1.0)
    """
    found: Normalisation | None = None
    for name, arguments in _steps(steps):
        if name == "ensure_dtype":
            continue
        if name == "clip" and found is not None and found.kind == "percentile":
            if (arguments.get("min"), arguments.get("max")) != (0, 1):
                raise ModelError(f"preprocessing clips to {arguments}; only 0 to 1 can be kept")
            found = found.model_copy(update={"cut": True})
            continue
        if found is not None or name not in _RULES:
            raise ModelError(
                f"preprocessing {name!r} cannot be done with one pair of constants for a brain"
                + (" after another step" if found is not None else "")
                + f"; known: {', '.join(sorted(_RULES))}, clip after scale_range"
            )
        found = _RULES[name](arguments)
    return found or Normalisation(kind="fixed")


def scale_of(steps: object) -> float:
    """Return what the postprocessing of an output multiplies it by.

    Raises
    ------
    ModelError
        If it does more than that.
    """
    scale = 1.0
    for name, arguments in _steps(steps):
        gain, offset = arguments.get("gain", 1.0), arguments.get("offset", 0.0)
        if name == "scale_linear" and _number(offset, name) == 0 and _number(gain, name) > 0:
            scale *= float(gain)
        elif name != "ensure_dtype":
            raise ModelError(f"postprocessing {name!r} cannot be done here; export without it")
    return scale


def _steps(steps: object) -> list[tuple[str, Mapping[str, Any]]]:
    found = steps or []
    if not isinstance(found, list) or not all(isinstance(step, Mapping) for step in found):
        raise ModelError("pre- or postprocessing is not a list of steps")
    return [(str(s.get("id") or s.get("name")), s.get("kwargs") or {}) for s in found]


def _scale_linear(arguments: Mapping[str, Any]) -> Normalisation:
    gain = _number(arguments.get("gain", 1.0), "scale_linear.gain")
    offset = _number(arguments.get("offset", 0.0), "scale_linear.offset")
    if gain <= 0:
        raise ModelError(f"preprocessing scale_linear multiplies by {gain:g}, not above 0")
    return Normalisation(kind="fixed", offset=-offset / gain, divisor=1 / gain)


def _fixed(arguments: Mapping[str, Any]) -> Normalisation:
    mean = _number(arguments.get("mean"), "zero_mean_unit_variance.mean")
    std = _number(arguments.get("std"), "zero_mean_unit_variance.std")
    if std <= 0:
        raise ModelError(f"preprocessing divides by a standard deviation of {std:g}")
    return Normalisation(kind="fixed", offset=mean, divisor=std)


def _zero_mean(arguments: Mapping[str, Any]) -> Normalisation:
    if arguments.get("mode") == "fixed":
        return _fixed(arguments)
    _check_axes(arguments, "zero_mean_unit_variance")
    return Normalisation(kind="zero_mean")


def _scale_range(arguments: Mapping[str, Any]) -> Normalisation:
    _check_axes(arguments, "scale_range")
    if arguments.get("reference_tensor"):
        raise ModelError("preprocessing scale_range takes its range from another tensor")
    low = _number(arguments.get("min_percentile", 0.0), "scale_range.min_percentile")
    high = _number(arguments.get("max_percentile", 100.0), "scale_range.max_percentile")
    return Normalisation(kind="percentile", low=low, high=high, cut=False)


def _check_axes(arguments: Mapping[str, Any], name: str) -> None:
    """Refuse statistics of planes or lines; those of a sample or a data set are the brain's."""
    axes = arguments.get("axes")
    if axes is None:
        return
    given = {str(axis) for axis in axes} if isinstance(axes, str | Sequence) else set()
    if not given >= _ALL or not given <= _SAMPLE:
        raise ModelError(
            f"preprocessing {name} takes statistics over axes {sorted(given)} only, so a voxel's "
            "input would depend on the plane of its tile; a brain has one pair of constants"
        )


def _number(value: object, name: str) -> float:
    """One finite number; a list of one stands for it."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int | float) or value - value != 0:
        raise ModelError(f"{name} of the package is {value!r}, not one finite number")
    return float(value)


_RULES = {
    "scale_linear": _scale_linear,
    "fixed_zero_mean_unit_variance": _fixed,
    "zero_mean_unit_variance": _zero_mean,
    "scale_range": _scale_range,
}
