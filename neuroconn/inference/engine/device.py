"""Which device and which arithmetic an engine uses, and whether a tile fits there."""

from __future__ import annotations

from math import prod

import torch

from neuroconn.errors import HaloError, UsageError
from neuroconn.geometry import ZYX
from neuroconn.network.base import Network

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Arithmetic of the network's body, by the name it has in settings."""

_ALIASES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_INDEX_LIMIT = 2**31


def choose(
    device: str = "auto", precision: str = "auto", kind: str = "torch", castable: bool = True
) -> tuple[str, str]:
    """Device and precision that ``auto`` means in this process.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}, optional
        ``auto`` takes the GPU where there is one.
    precision : {"auto", "float32", "bfloat16", "float16"}, optional
        ``auto`` takes the half precision the device computes with in hardware; ``fp32``, ``bf16``
        and ``fp16`` are understood too.
    kind : {"torch", "openvino"}, optional
        What computes; OpenVINO does on CPUs only, which ``auto`` then means.
    castable : bool, optional
        Whether the network can be computed in half precision: not if it was made elsewhere, since
        its last layer cannot be kept in float32.

    Returns
    -------
    (str, str)
        ``cpu`` or ``cuda``, and a key of :data:`DTYPES`.

    Raises
    ------
    UsageError
        If there is no such device here, or it cannot compute in this precision.

    Examples
    --------
    >>> choose("cpu", "fp32")
    ('cpu', 'float32')
    """
    precision = plain_name(precision)
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device must be auto, cpu or cuda, got {device!r}")
    if precision != "auto" and precision not in DTYPES:
        raise UsageError(f"precision must be auto or one of {', '.join(DTYPES)}, got {precision!r}")
    if kind not in ("torch", "openvino"):
        raise UsageError(f"engine must be auto, torch or openvino, got {kind!r}")
    if kind == "openvino" and device == "cuda":
        raise UsageError("engine openvino computes on the CPU: set device: cpu, or engine: torch")
    if device == "auto" and kind == "openvino":
        device = "cpu"
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"device cuda was asked for, but torch {torch.__version__} sees no GPU here: "
            "install torch for CUDA, check the driver, or set device: cpu"
        )
    usable = _usable(device) if castable else ["float32"]
    if precision != "auto" and not castable and precision not in usable:
        raise UsageError(
            f"models made elsewhere run in float32, not in {precision}: their last layer cannot be "
            "kept out of it. Set precision: auto."
        )
    if precision == "auto":
        return device, usable[0]
    if precision not in usable:
        raise UsageError(
            f"precision {precision} is not computed in hardware by this {device} (it has "
            f"{', '.join(usable)}), so it would be slower than float32. Set precision: auto."
        )
    return device, precision


def plain_name(precision: str) -> str:
    """Return the key of :data:`DTYPES` that a short name such as ``bf16`` stands for."""
    return _ALIASES.get(precision, precision)


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; emulated, it is slower than float32."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


def check_size(network: Network, tile: ZYX, trim: ZYX) -> None:
    """Refuse a tile whose largest tensor is beyond 32-bit indexing.

    Raises
    ------
    HaloError
        If it is: some kernels would answer wrongly without an error.
    """
    elements = network.activations(tile, trim).largest
    if elements < _INDEX_LIMIT:
        return
    edge, step = round(prod(tile) ** (1 / 3)), network.stride
    while edge > step and network.activations((edge, edge, edge)).largest >= _INDEX_LIMIT:
        edge -= 1
    raise HaloError(
        f"tile of {tile} makes a tensor of {elements:.2e} elements, beyond 32-bit indexing "
        f"(2.1e9), where results are silently wrong. Use tiles of at most {edge // step * step} "
        "voxels a side: smaller chunks, a narrower halo, or a narrower network."
    )


def _usable(device: str) -> list[str]:
    """Precisions with hardware behind them, the one to prefer first."""
    if device == "cpu":
        return ["bfloat16", "float32"] if has_bfloat16() else ["float32"]
    major, _ = torch.cuda.get_device_capability()
    # float16 first: its error is a seventh of bfloat16's, and inputs are too small to overflow.
    halves = ["float16"] * (major >= 7) + ["bfloat16"] * (major >= 8)
    return [*halves, "float32"]
