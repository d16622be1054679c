"""How much memory is free for this process: of the machine, and of the job it runs in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_FILES = (
    # Limit, usage, and what of it is a cache that would be given up.
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes of memory free for a new process; None where the system does not say.

    The least of what the machine has and of what the control groups around this process leave it:
    a SLURM job or a container is killed at its own limit, however much the machine has.

    Parameters
    ----------
    root : Path, optional
        Where ``proc`` and ``sys`` are; for tests.
    """
    free = [n for n in (_machine(root), *_groups(root)) if n is not None]
    return min(free, default=None)


def _machine(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(values["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in values else None


def _groups(root: Path) -> Iterator[int | None]:
    """Yield what each control group around this process has left, from both versions of them."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("memory" if kinds else "")
        inside = PurePosixPath(path.lstrip("/"))
        # In a container the path is that of the host and not there; the mount is its own group.
        for group in (inside, *inside.parents):
            yield _left(mount / group)


def _left(group: Path) -> int | None:
    for limit, usage, cache in _FILES:
        most, used = _number(group / limit), _number(group / usage)
        if most is not None and used is not None:
            return max(0, most - used + (_statistic(group / "memory.stat", cache) or 0))
    return None


def _number(file: Path) -> int | None:
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # "max" is no limit


def _statistic(file: Path, name: str) -> int | None:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = dict(line.split(maxsplit=1) for line in lines)
    return int(found[name]) if name in found else None
