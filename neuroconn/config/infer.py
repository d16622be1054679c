"""Settings of ``neuroconn infer``: everything that changes the answer, nothing that does not.

Workers, window and threads are arguments of a run; they never change a stored byte.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from neuroconn.config.base import Settings


class EvidenceRules(Settings):
    """When a prediction opens the way into a neighbouring chunk. Distances are in voxels."""

    rule: Literal["evidence", "seed", "any"] = "evidence"
    """``evidence``: components that reach a neighbour. ``seed``: any low prediction near a face.
    ``any``: every neighbour of a chunk that holds neurite."""
    threshold: float = Field(default=8.0, gt=0)
    """Predictions below this belong to a neurite once it is known to be one."""
    border: int = Field(default=8, ge=1)
    """Rule ``seed``: how far from a face, inside the core, a low prediction counts."""
    core_threshold: float = Field(default=3.0, gt=0)
    """Components are found and sized below this distance, near the centreline."""
    min_component: int = Field(default=30, ge=1)
    """Voxels a component needs *beyond* those a single perfect point would have (93 at 3.0);
    the plain number for a component cut by the border of the tile."""
    min_voxels: int = Field(default=3, ge=1)
    """Evidence voxels at or beyond a face, edge or corner that open a neighbour."""
    connectivity: Literal[6, 18, 26] = 26
    """Which neighbours can be opened: across faces, edges too, or corners too."""
    reliable: int = Field(default=16, ge=0)
    """Outermost voxels of the halo whose predictions are not trusted as evidence."""

    @model_validator(mode="after")
    def _ordered(self) -> EvidenceRules:
        if self.core_threshold > self.threshold:
            raise ValueError(
                f"core_threshold {self.core_threshold} must not exceed threshold {self.threshold}"
            )
        return self


class AuditSettings(Settings):
    """Probes of chunks the walk did not reach, made when it has closed; hits become seeds."""

    probes: int = Field(default=100, ge=0)
    """Random unexplored chunks a round, on which the stated bound rests; 0 for no audit."""
    directed: int = Field(default=100, ge=0)
    """Unexplored chunks a round that look most like neurite on a coarse level."""
    rounds: int = Field(default=6, ge=1)
    """Rounds at most; there is another one only after a hit."""
    share: float = Field(default=0.05, gt=0, le=1)
    """Probes of either kind a round, as a share of the visited chunks, at most; 20 are always
    allowed."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Of the bound on what was missed."""


class InferSettings(Settings):
    """How a brain is explored and predicted. Lengths are voxels of the inferred level."""

    level: int = Field(default=0, ge=0)
    """Level of the brain to infer; 1 is about eight times faster and sees thick neurites only."""
    chunk: int = Field(default=128, ge=8)
    """Side of a chunk: what one task writes, and one stored object of the output."""
    inner_chunk: int = Field(default=64, ge=8)
    """Side of the readable unit inside a stored object; divides ``chunk``."""
    halo: int = Field(default=32, ge=0)
    """Context read around a chunk. 32 leaves a seam error of a few hundredths of a voxel."""
    exact: bool = False
    """Insist on a halo as wide as the receptive field: the stitched map then equals the network on
    the whole padded brain within 1e-5 before rounding."""
    padding: Literal["reflect", "symmetric", "edge", "constant"] = "reflect"
    """What the network sees outside the brain; ``constant`` means black."""
    evidence: EvidenceRules = EvidenceRules()
    """When the walk goes on into a neighbour."""
    bridge: int = Field(default=0, ge=0, le=254)
    """Chunks without evidence the walk may cross in a row."""
    through_failed: Literal["all", "bridge", "none"] = "all"
    """Where the walk goes on from a chunk that failed: to all its neighbours if evidence led to
    it, as far as the budget of an empty chunk reaches, or nowhere."""
    on_damage: Literal["fail", "fill"] = "fail"
    """What becomes of damaged or lost parts of the brain: the chunks that need them fail, or they
    read as fill value, which is listed in the report."""
    audit: AuditSettings = AuditSettings()
    """How what was missed is looked for when the walk has closed."""
    dtype: Literal["uint8", "uint16", "float32"] = "uint8"
    """Stored type: steps of clip/250, of clip/65000, or the distance itself."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic of the network's body; its head is always float32."""
    engine: Literal["auto", "torch", "openvino"] = "auto"
    """What computes the network's body; ``auto`` is torch. OpenVINO, an extra, is faster on CPUs in
    float32, and its answers differ by rounding, so it belongs to the run."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs; ``auto`` takes a GPU where the worker has one."""
    max_chunks: int | None = Field(default=None, ge=1)
    """Stop after so many chunks: an exception to the closure, exit code 1. Resuming with a larger
    number goes on."""
    max_empty: float | None = Field(default=None, gt=0, le=1)
    """Stop when so large a share of the last thousand chunks was empty: the walk is flooding. An
    exception to the closure like ``max_chunks``."""

    @model_validator(mode="after")
    def _fits(self) -> InferSettings:
        if self.chunk % self.inner_chunk:
            raise ValueError(f"inner_chunk {self.inner_chunk} must divide chunk {self.chunk}")
        if self.evidence.reliable > self.halo:
            raise ValueError(
                f"evidence.reliable {self.evidence.reliable} exceeds the halo of {self.halo}: "
                "no evidence beyond a face would ever count"
            )
        return self
