"""Whether a TeraFly tree, whoever wrote it, is what Vaa3D opens; and mending what is not."""

from __future__ import annotations

from neuroconn.vaa3d.conformance.backup import undo
from neuroconn.vaa3d.conformance.findings import ConformanceReport, Finding, LevelFacts
from neuroconn.vaa3d.conformance.repair import RepairReport, repair_vaa3d
from neuroconn.vaa3d.conformance.rules import RULES, Rule
from neuroconn.vaa3d.conformance.tree import check_vaa3d

__all__ = [
    "RULES",
    "ConformanceReport",
    "Finding",
    "LevelFacts",
    "RepairReport",
    "Rule",
    "check_vaa3d",
    "repair_vaa3d",
    "undo",
]
