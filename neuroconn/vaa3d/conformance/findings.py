"""What was found in a tree, bounded in number, and the report made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from neuroconn.geometry import ZYX
from neuroconn.vaa3d.conformance.rules import RULES, SEVERITIES, Severity

KEPT = 100
"""Findings of one rule and severity that a report lists; it counts them all."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule at one place."""

    rule: str
    """A name in :data:`neuroconn.vaa3d.conformance.RULES`."""
    file: str
    """The file or folder at fault, relative to the tree; "." is the tree itself."""
    what: str
    severity: Severity

    @property
    def mend(self) -> str:
        """What to do about it, in one line."""
        return RULES[self.rule].mend

    def as_dict(self) -> dict[str, str]:
        """Return the finding as JSON values."""
        why = RULES[self.rule].why
        return {
            "rule": self.rule, "severity": self.severity, "file": self.file,
            "what": self.what, "why": why, "mend": self.mend,
        }  # fmt: skip


def finding(rule: str, file: str, what: str, severity: Severity | None = None) -> Finding:
    """Make a finding, as grave as its rule unless said otherwise."""
    return Finding(rule, file, what, severity or RULES[rule].severity)


@dataclass(slots=True)
class Findings:
    """Collects findings: the first of every kind, and the number of all."""

    kept: list[Finding] = field(default_factory=list)
    counts: Counter[tuple[str, Severity]] = field(default_factory=Counter)

    def add(self, found: Iterable[Finding]) -> None:
        """Take findings in."""
        for one in found:
            kind = one.rule, one.severity
            self.counts[kind] += 1
            if self.counts[kind] <= KEPT:
                self.kept.append(one)

    def ordered(self) -> tuple[Finding, ...]:
        """Return what was kept, errors first, in the order of the rules."""
        rules = list(RULES)
        return tuple(
            sorted(self.kept, key=lambda f: (SEVERITIES.index(f.severity), rules.index(f.rule)))
        )


@dataclass(frozen=True, slots=True)
class LevelFacts:
    """What a level says about itself, and what was met on the way."""

    folder: str
    shape: ZYX | None
    """Voxels (z, y, x); None where nothing tells."""
    spacing_um: tuple[float, float, float] | None
    origin_um: tuple[float, float, float] | None
    dtype: str | None
    tiles: int
    """Tiles that ``mdata.bin`` lists, or that lie there without it."""
    empty: int
    """Those of them that are ``NULL.tif``."""
    bytes: int = 0
    """Size of the tiles' files."""
    encodings: tuple[tuple[str, int], ...] = ()
    """How often each compression was met, as (name, tiles)."""
    made_by: str | None = None
    """How the level was made of the finer one, where voxels were compared."""


@dataclass(frozen=True, slots=True)
class ConformanceReport:
    """Whether a tree is what Vaa3D wants."""

    tree: str
    levels: tuple[LevelFacts, ...]
    """Finest first."""
    findings: tuple[Finding, ...]
    """Errors first; of each kind the first :data:`KEPT`."""
    counts: tuple[tuple[str, Severity, int], ...]
    """How often each rule was broken, as (rule, severity, times)."""
    seconds: float

    def count(self, severity: Severity) -> int:
        """Return the number of findings of a severity."""
        return sum(times for _, kind, times in self.counts if kind == severity)

    @property
    def sound(self) -> bool:
        """Whether there is no error; warnings and notes do not count."""
        return not self.count("error")

    @property
    def rules(self) -> set[str]:
        """Names of all broken rules."""
        return {rule for rule, _, _ in self.counts}

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "tree": self.tree,
            "sound": self.sound,
            **{f"{severity}s": self.count(severity) for severity in SEVERITIES},
            "levels": [
                asdict(level) | {"encodings": dict(level.encodings)} for level in self.levels
            ],
            "findings": [one.as_dict() for one in self.findings],
            "counts": [
                {"rule": rule, "severity": severity, "count": times}
                for rule, severity, times in self.counts
            ],
            "seconds": round(self.seconds, 3),
        }
