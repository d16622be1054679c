"""Grey values to network input, with one pair of constants per brain. Free of torch.

Constants computed per tile would make a voxel's prediction depend on the tile it falls in, so they
come from the whole brain's intensity statistics, which the converter stores.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import Field, model_validator

from neuroconn.config import Settings
from neuroconn.errors import VolumeError

Curve = Literal["asinh", "linear", "affine"]
ArrayOrTensor = TypeVar("ArrayOrTensor")

_FOREGROUND = 24.0
"""How many median absolute deviations a neurite is taken to stand above a background that was
zeroed and has none of its own. Measured on such a volume: 8 finds a fifth of it, 24 most of it."""


@dataclass(frozen=True, slots=True)
class Constants:
    """The map from grey values to network input, the same for every voxel of a brain.

    ``asinh``: ``asinh((v - offset) / divisor) / scale``, linear near the background and logarithmic
    above, so that one bright soma does not flatten dim axons.
    ``linear``: ``(v - offset) / divisor``, cut to [0, 1]. ``affine``: the same, not cut.
    """

    curve: Curve
    offset: float
    """Grey value that becomes 0."""
    divisor: float
    """Grey levels per unit before the curve; positive."""
    scale: float = 1.0
    """Divides the asinh curve."""

    def __post_init__(self) -> None:
        numbers = (self.offset, self.divisor, self.scale)
        if not all(map(np.isfinite, numbers)) or self.divisor <= 0 or self.scale <= 0:
            raise ValueError(f"normalisation needs finite constants and positive divisors: {self}")

    def apply(self, values: ArrayOrTensor) -> ArrayOrTensor:
        """Network input, float32, of grey values of any dtype.

        Parameters
        ----------
        values : ndarray or torch.Tensor, any shape
            Grey values as stored; left unchanged.

        Returns
        -------
        The same kind of array, float32.

        Examples
        --------
        >>> Constants("linear", offset=100, divisor=200).apply(np.array([50, 200, 900], np.uint16))
        array([0. , 0.5, 1. ], dtype=float32)
        """
        if isinstance(values, np.ndarray):
            return self._apply_numpy(values)  # type: ignore[return-value]
        # A tensor; its methods are called by name because this file is free of torch.
        y = values.float().sub(self.offset).div_(self.divisor)  # type: ignore[attr-defined]
        if self.curve == "asinh":
            y.asinh_().div_(self.scale)
        elif self.curve == "linear":
            y.clamp_(0.0, 1.0)
        return y  # type: ignore[no-any-return]

    def _apply_numpy(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        y = values.astype(np.float32)
        y -= np.float32(self.offset)
        y /= np.float32(self.divisor)
        if self.curve == "linear":
            return np.clip(y, 0.0, 1.0, out=y)
        if self.curve == "affine":
            return y
        np.arcsinh(y, out=y)
        y /= np.float32(self.scale)
        return y


class Normalisation(Settings):
    """How a brain's intensity statistics become the constants of its normalisation."""

    kind: Literal["asinh", "percentile", "zero_mean", "fixed"] = "asinh"
    """asinh: from median and median absolute deviation. percentile: from two percentiles.
    zero_mean: from mean and standard deviation. fixed: the same for every brain."""
    softening: float = Field(default=4.0, gt=0, allow_inf_nan=False)
    """asinh: deviations above the median where the curve bends from linear to logarithmic."""
    scale: float = Field(default=3.0, gt=0, allow_inf_nan=False)
    """asinh: divides the result, to bring most voxels below 1."""
    low: float = Field(default=1.0, ge=0, le=100)
    """percentile: the one that becomes 0."""
    high: float = Field(default=99.0, ge=0, le=100)
    """percentile: the one that becomes 1."""

    cut: bool = True
    """percentile: whether input is cut to [0, 1]."""
    offset: float = Field(default=0.0, allow_inf_nan=False)
    """fixed: grey value that becomes 0."""
    divisor: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """fixed: grey levels per unit of input."""

    @model_validator(mode="after")
    def _ordered(self) -> Normalisation:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low}) must lie below high ({self.high})")
        return self

    def constants(self, statistics: Mapping[str, Any]) -> Constants:
        """Constants of the brain with these intensity statistics.

        Parameters
        ----------
        statistics : mapping
            ``min``, ``max``, ``mad`` (median absolute deviation) and ``percentiles``, a mapping
            from the percentage as text (``"50"``, ``"99.9"``) to the grey value, all at full
            resolution.

        Returns
        -------
        Constants
            Usable for every brain: a deviation that would be 0, as in volumes whose background was
            zeroed, is taken as a 24th of the mean of what is not zero, or else of the first step
            of the upper percentiles, or as 1 grey level.

        Raises
        ------
        VolumeError
            If a number is missing or not finite.

        Examples
        --------
        >>> stats = {"min": 0, "max": 900, "mad": 10, "percentiles": {"50": 100, "99": 700}}
        >>> Normalisation(softening=2, scale=1).constants(stats)
        Constants(curve='asinh', offset=100.0, divisor=20.0, scale=1.0)
        """
        if self.kind == "fixed":
            return Constants("affine", offset=self.offset, divisor=self.divisor)
        if self.kind == "zero_mean":
            mean, deviation = _moments(statistics)
            return Constants("affine", offset=mean, divisor=deviation or 1.0)
        if self.kind == "percentile":
            low, high = (_percentile(statistics, q) for q in (self.low, self.high))
            span = high - low or _upper_step(statistics, low) or 1.0
            return Constants("linear" if self.cut else "affine", offset=low, divisor=span)
        median = _percentile(statistics, 50)
        spread = _number(statistics, "mad") or _foreground(statistics, median) / _FOREGROUND or 1.0
        return Constants("asinh", offset=median, divisor=self.softening * spread, scale=self.scale)


def _foreground(statistics: Mapping[str, Any], median: float) -> float:
    """Typical height over the median of what is above it; 0 in a volume of one grey level."""
    zeros, mean = statistics.get("zeros"), statistics.get("mean")
    if median == 0 and mean and zeros is not None and _finite(zeros, "zeros") < 1:
        return _finite(mean, "mean") / (1 - float(zeros))
    return _upper_step(statistics, median)


def _upper_step(statistics: Mapping[str, Any], above: float) -> float:
    """Height of the first percentile, or else the maximum, over ``above``; 0 if none."""
    percentiles = statistics.get("percentiles", {})
    steps = [_percentile(statistics, float(q)) - above for q in sorted(percentiles, key=float)]
    steps.append(_number(statistics, "max") - above)
    return next((step for step in steps if step > 0), 0.0)


def _percentile(statistics: Mapping[str, Any], percent: float) -> float:
    percentiles: Mapping[str, Any] = statistics.get("percentiles", {})
    stored = {float(q): value for q, value in percentiles.items()}
    counts = _histogram(statistics)
    if percent not in stored and counts is not None:
        total = np.cumsum(counts)
        return float(np.searchsorted(total, max(1, np.ceil(total[-1] * percent / 100))))
    if percent not in stored:
        known = ", ".join(f"{q:g}" for q in sorted(stored)) or "none"
        raise VolumeError(
            f"the brain's intensity statistics lack percentile {percent:g} (stored: {known}), "
            "which normalisation needs: convert the brain again, or choose a stored percentile"
        )
    return _finite(stored[percent], f"percentile {percent:g}")


def _moments(statistics: Mapping[str, Any]) -> tuple[float, float]:
    """Mean and standard deviation of all voxels."""
    counts = _histogram(statistics)
    if counts is None:
        raise VolumeError(
            "the brain's intensity statistics lack the histogram, which the standard deviation is "
            "taken from: convert the brain again"
        )
    values = np.arange(counts.size, dtype=float)
    mean = float(np.average(values, weights=counts))
    return mean, float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))


def _histogram(statistics: Mapping[str, Any]) -> np.ndarray[Any, Any] | None:
    """Voxels of each grey value, as the converter packs them; None if they are not there."""
    packed = statistics.get("histogram")
    if not isinstance(packed, str):
        return None
    try:
        counts = np.frombuffer(zlib.decompress(base64.b64decode(packed)), dtype="<i8")
    except (ValueError, zlib.error):
        raise VolumeError("the brain's histogram is damaged: convert the brain again") from None
    return counts if counts.sum() > 0 else None


def _number(statistics: Mapping[str, Any], name: str) -> float:
    if name not in statistics:
        raise VolumeError(
            f"the brain's intensity statistics lack {name!r}, which normalisation needs: "
            "convert the brain again"
        )
    return _finite(statistics[name], name)


def _finite(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise VolumeError(
            f"the brain's intensity statistics hold {name} = {value!r}, not a finite number: every "
            "prediction would be NaN. Convert the brain again from intact data."
        )
    return number
