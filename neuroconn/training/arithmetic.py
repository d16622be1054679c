"""Where a network learns, and in which numbers."""

from __future__ import annotations

import torch

from neuroconn.errors import UsageError


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """Return the device that a name means in this process.

    Parameters
    ----------
    name : str
        ``auto`` takes a GPU where there is one; ``cuda`` that of this process.
    local_rank : int, optional
        Number of this process on its machine.

    Raises
    ------
    UsageError
        If the device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"no device {name!r}: give auto, cpu or cuda") from None
    if device.type != "cuda":
        return device
    if not torch.cuda.is_available():
        raise UsageError(f"device {name}, but torch sees no GPU here: give cpu or auto")
    if local_rank >= (count := torch.cuda.device_count()):
        raise UsageError(
            f"process {local_rank} of this machine has no GPU of its own ({count} here): start "
            f"torchrun with --nproc-per-node {count}"
        )
    place = torch.device("cuda", device.index if ":" in name else local_rank)
    torch.cuda.set_device(place)
    return place


def half_precision(name: str, device: torch.device) -> torch.dtype | None:
    """Type of the network's body in mixed precision; None for full precision."""
    if name == "auto":
        flags = torch.backends.cpu.get_cpu_capability()
        supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
        good = device.type == "cuda" or ("AVX512" in flags and supported)
        return torch.bfloat16 if good else None
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
