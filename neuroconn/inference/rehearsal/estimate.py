"""What a run would cost: the answer of a rehearsal, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from neuroconn.geometry import ZYX
from neuroconn.inference.rehearsal.visits import Interval


@dataclass(frozen=True, slots=True)
class Tiling:
    """How the brain is cut, and what that costs."""

    grid: ZYX
    """Chunks along (z, y, x)."""
    chunk: ZYX
    halo: int
    tile: ZYX
    """Voxels that are read and inferred for a chunk."""
    redundancy: float
    """Voxels inferred per voxel of the map."""
    read_amplification: float
    """Voxels decoded per voxel of the map: the brain's own chunks are read whole."""
    tile_bytes: int
    """Decoded for a tile, on average."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Who would do it."""

    name: str
    models: int
    """Networks that run at the same time."""
    device: str
    precision: str
    engine: str
    memory: int | None
    """Bytes a prediction takes; None if the network is not ours to know."""
    available: int | None
    """Bytes of main memory the tightest worker has free."""
    gpu: int | None
    """Bytes the fullest GPU has free."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What inferring a few chunks showed; nothing of them was stored."""

    chunks: int
    """Inferred, warm-up included."""
    neurite: int
    """Of those, how many hold neurite."""
    timed: int
    """Inferred after the warm-up: the times are theirs."""
    slots: int
    """Chunks that were under way at the same time."""
    seconds: float
    """For a chunk, from read to compressed core, mean."""
    read_seconds: float
    model_seconds: float
    chunks_per_second: float
    """Of all workers together."""
    spread: float
    """Relative standard error of that."""
    bottleneck: str
    """What more of would help: ``model``, ``reading``, or ``verdict and compression``."""
    neurite_bytes: float
    """Stored for a chunk with neurite, mean."""
    empty_bytes: float
    """Stored for one without."""
    failed: tuple[str, ...] = ()
    """Why chunks could not be inferred, the first few."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would do, and what it would take. Nothing was written for it."""

    brain: str
    output: str
    run_id: str
    tiling: Tiling
    workers: Workers
    chunks: dict[str, int]
    """Chunks of the grid in each state: what earlier runs did, and what waits."""
    seeds: int
    """Chunks the walk would start from."""
    region: str | None
    """Where it may go, if not everywhere."""
    looks: dict[str, int]
    """Open chunks by how they look from afar; empty if nobody had to look."""
    neurite: Interval | None
    """Open chunks that hold neurite."""
    visits: Interval
    """Chunks to infer, if all neurite is reached."""
    basis: str
    """Where that comes from."""
    audit: int
    """Probes of the first round of the audit, at most; not among the visits."""
    bytes: Interval
    """Size of what would be stored."""
    free: int | None
    """Bytes free where the output would lie; None on an object store."""
    measured: Measured | None
    seconds: Interval | None
    """Time of the walk on these workers."""
    device_hours: Interval | None
    """Hours of all their devices together."""
    warnings: tuple[str, ...]
    """What one would regret, one line each."""

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as plain values."""
        plain: dict[str, Any] = _plain(self)
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Interval):
        return value.to_json()
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
