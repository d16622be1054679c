"""Settings of a network: which one, and how large. What follows from them needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from neuroconn.config.base import Settings

NetworkName: TypeAlias = Literal["unet", "resunet", "resunetpp", "cenet"]

OPTIONS: dict[str, dict[str, Any]] = {
    "unet": {"levels": 4, "width": 32, "convolutions": 2, "dropout": 0.1, "head": "relu"},
    "resunet": {
        "depth": 34,
        "width": 64,
        "shortcut": "auto",
        "convolutions": 2,
        "dropout": 0.1,
        "head": "relu",
        "encoder_weights": None,
    },
    "resunetpp": {"levels": 3, "width": 16, "head": "relu"},
    "cenet": {
        "depth": 34,
        "width": 64,
        "shortcut": "auto",
        "pools": (2, 3, 5, 6),
        "head": "relu",
        "encoder_weights": None,
    },
}
"""What each network takes, with its defaults."""


class NetworkSettings(Settings):
    """Which network learns. Options that a network does not take are absent, and refused.

    Examples
    --------
    >>> NetworkSettings().levels, NetworkSettings(name="resunet").levels
    (4, None)
    >>> NetworkSettings(name="cenet", depth=18).stride
    16
    """

    name: NetworkName = "unet"
    """Architecture: ``unet``, ``resunet`` (residual encoder of MedicalNet), ``resunetpp``
    (squeeze-and-excitation, attention) or ``cenet`` (dilated and pooled context)."""
    levels: int | None = Field(None, ge=1, le=6)
    """Poolings of ``unet`` and ``resunetpp``; 4 is the "5 levels" of the U-Net in the report."""
    depth: Literal[10, 18, 34, 50] | None = None
    """Layers of the residual encoder of ``resunet`` and ``cenet``."""
    width: int | None = Field(None, ge=1)
    """Channels at full resolution, or of the encoder's stem: 64 is MedicalNet's."""
    convolutions: int | None = Field(None, ge=1)
    """Convolutions per level of ``unet``, each way, or of the decoder of ``resunet``."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Share of channels dropped, in ``unet`` and in the decoder of ``resunet``."""
    shortcut: Literal["auto", "A", "B"] | None = None
    """How a residual block of ``resunet`` or ``cenet`` is bypassed where its size changes: ``A``
    subsamples and adds empty channels, ``B`` is a convolution. ``auto`` is what MedicalNet's
    weights were trained with: A for 18 and 34, B for 10 and 50."""
    pools: tuple[int, ...] | None = None
    """Sides of the poolings of ``cenet``, in cells of 16 voxels. Exact tiles have to lie on 16
    times their least common multiple."""
    head: Literal["relu", "sigmoid"] | None = None
    """What keeps distances from being negative: a ReLU, or ``clip`` times a sigmoid."""
    encoder_weights: str | None = None
    """MedicalNet checkpoint the encoder of ``resunet`` or ``cenet`` starts from; you supply it."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        """Give a network its own defaults."""
        if not isinstance(data, Mapping):
            return data
        given = {key: value for key, value in data.items() if value is not None}
        name = given.get("name", "unet")
        return {**OPTIONS.get(name, {}), **given} if isinstance(name, str) else given

    @model_validator(mode="after")
    def _check(self) -> NetworkSettings:
        takes = OPTIONS[self.name]
        given = (key for key in type(self).model_fields if getattr(self, key) is not None)
        foreign = [key for key in given if key not in {"name", *takes}]
        if foreign:
            raise ValueError(
                f"network {self.name} takes no {' and no '.join(foreign)} (it takes "
                f"{', '.join(takes)})"
            )
        return self

    @field_validator("pools")
    @classmethod
    def _check_pools(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (not value or not all(2 <= k <= 16 for k in value)):
            raise ValueError(f"pools must be sides from 2 to 16, at least one, got {value}")
        return value

    @model_serializer(mode="wrap")
    def _leave_out(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what does not apply, so that the settings can be read again."""
        return {key: value for key, value in handler(self).items() if value is not None}

    @property
    def stride(self) -> int:
        """Pooling grid: sides of a crop, chunk or halo are multiples of it."""
        if self.name in ("unet", "resunetpp"):
            return int(2 ** (self.levels or 0))
        return 32 if self.name == "resunet" else 16

    @property
    def smallest(self) -> int:
        """Smallest side of a crop with more than one cell at the bottom, in voxels.

        A U-Net is taken at its word; a network with a residual encoder or with global pooling has
        nothing to normalise in a single cell.
        """
        return self.stride if self.name == "unet" else 2 * self.stride

    def check_crop(self, side: int) -> None:
        """Refuse a crop that the network cannot pool.

        Raises
        ------
        ValueError
            Naming the sides that fit.
        """
        if side >= self.smallest and side % self.stride == 0:
            return
        below = max(self.smallest, side // self.stride * self.stride)
        above = max(below + self.stride, self.smallest)
        raise ValueError(
            f"crop of {side} voxels does not fit network {self.name}, which pools by {self.stride} "
            f"and needs {self.smallest} at least: take {below} or {above}"
        )

    def arguments(self) -> dict[str, Any]:
        """Name and options, as :func:`neuroconn.network.build` takes them."""
        return {k: v for k, v in self.model_dump().items() if k != "encoder_weights"}
