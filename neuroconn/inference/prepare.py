"""From a command to a plan: everything that can be known to be wrong is found here.

Nothing is written, no worker is started.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neuroconn.annotation import ApoBase
from neuroconn.config.infer import InferSettings
from neuroconn.errors import HaloError, ModelError, StorageError, UsageError, VolumeError
from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference.encoding import Encoding
from neuroconn.inference.gaps import lost_objects
from neuroconn.inference.identity import brain_identity, digest, run_identity
from neuroconn.inference.plan import Plan
from neuroconn.inference.predictors import packages_of, versions
from neuroconn.inference.seeds.find import find_seeds
from neuroconn.inference.seeds.region import Region, parse_region, seeds_inside
from neuroconn.network.card import ModelCard, load_card
from neuroconn.network.normalisation import Constants
from neuroconn.volume.address import Address, ObjectPath, address_of
from neuroconn.volume.store import Image, open_image


@dataclass(frozen=True)
class Job:
    """What a run would do, checked as far as that is possible without a worker."""

    brain: Image
    output: Address
    model: str
    card: ModelCard
    constants: Constants
    settings: InferSettings
    grid: ChunkGrid
    encoding: Encoding
    seeds: Iterable[ZYX]
    """Chunks to start from; the grid itself for all of them."""
    region: Region | None = None
    """Where the walk may go; None for the whole brain."""
    warnings: tuple[str, ...] = ()
    """What looks wrong but may be meant, one line each."""

    @property
    def engine(self) -> str:
        """What ``auto`` means: torch."""
        return "torch" if self.settings.engine == "auto" else self.settings.engine

    def plan(self, device: str, precision: str) -> tuple[Plan, dict[str, Any]]:
        """Return the plan for workers of one kind, and the identity of its run."""
        identity = self._identity(device, precision)
        rules = self.settings.evidence
        plan = Plan(
            run_id=digest(identity),
            brain=self.brain.path.resolve(),
            level=self.settings.level,
            output=self.output.resolve(),
            model=self.model,
            model_sha256=self.card.sha256 or "",
            grid=self.grid,
            halo=self.settings.halo,
            trim=rules.reliable,
            padding=self.settings.padding,
            constants=self.constants,
            # What is left of a tile is all trusted.
            rules=rules.model_copy(update={"reliable": 0}),
            encoding=self.encoding,
            precision=precision,
            device=device,
            engine=self.engine,
            network=digest(self.card.architecture),
            brain_digest=digest(identity["brain"]),
            on_damage=self.settings.on_damage,
            versions=versions(*packages_of(self.engine, self.card.architecture)),
        )
        return plan, identity

    def _identity(self, device: str, precision: str) -> dict[str, Any]:
        """Return everything that changes the answer; neither paths nor workers are in it."""
        return run_identity(
            brain=brain_identity(self.brain, self.settings.level),
            model=self.card.sha256,
            grid=self.grid,
            inner_chunk=self.settings.inner_chunk,
            halo=self.settings.halo,
            padding=self.settings.padding,
            on_damage=self.settings.on_damage,
            normalisation=self.constants,
            evidence=self.settings.evidence,
            bridge=self.settings.bridge,
            through_failed=self.settings.through_failed,
            region=self.region.digest if self.region else None,
            encoding=self.encoding,
            network=self.card.architecture,
            engine={"kind": self.engine, "device": device, "precision": precision},
        )


def prepare(
    brain: str | Address,
    output: str | Address,
    *,
    model: str | Path,
    settings: InferSettings,
    seeds: Sequence[Sequence[str]] = (),
    seed_source: str | Path | None = None,
    seed_units: Literal["voxel", "um"] = "voxel",
    seed_export: str | Path | None = None,
    apo_base: ApoBase = 0,
    box: Sequence[str | float] = (),
    mask: str | Path | None = None,
) -> Job:
    """Check a run before anything is written or started.

    Parameters
    ----------
    brain : path
        OME-Zarr image.
    output : path
        Where the map would go.
    model : path or str
        Folder of a model, or the name of a shipped one; or a model made elsewhere, see
        :func:`neuroconn.network.load_model`.
    settings : InferSettings
        What decides the answer.
    seeds, seed_source, seed_units, seed_export, apo_base
        As for :func:`neuroconn.inference.seeds.find.find_seeds`.
    box, mask
        As for :func:`neuroconn.inference.seeds.region.parse_region`.

    Raises
    ------
    VolumeError, ModelError, UsageError
        Naming what is wrong.
    """
    image = open_image(brain)
    _check_level(image, settings.level)
    card = load_card(model)
    grid = grid_of(image, settings)
    region = parse_region(image, grid, level=settings.level, box=box, mask=mask)
    found = find_seeds(
        image,
        grid,
        level=settings.level,
        points=seeds,
        source=seed_source,
        units=seed_units,
        export=seed_export,
        apo_base=apo_base,
        percentiles=_statistics(image).get("percentiles"),
        within=region.inside if region else None,
    )
    warnings = [*found.warnings, *(region.warnings if region else ())]
    warnings += lost_objects(image, settings.level)
    chunks = found.chunks
    if region is not None and chunks is not grid:
        chunks, lost = seeds_inside(region, chunks)
        warnings += lost
    job = Job(
        brain=image,
        output=address_of(output),
        model=str(Path(model).expanduser().resolve()) if Path(model).exists() else str(model),
        card=card,
        constants=constants_of(image, card),
        settings=settings,
        grid=grid,
        encoding=Encoding(settings.dtype, card.clip),
        seeds=chunks,
        region=region,
        warnings=tuple(warnings),
    )
    _check_rules(job)
    return job


def grid_of(image: Image, settings: InferSettings) -> ChunkGrid:
    """Return the chunks of the map: those of the settings, over the inferred level."""
    c = settings.chunk
    return ChunkGrid(image.levels[settings.level].shape, (c, c, c))


def constants_of(image: Image, card: ModelCard) -> Constants:
    """Return the normalisation of a brain, from the statistics its converter stored.

    Raises
    ------
    VolumeError
        If there are none: constants per tile would make the answer depend on the tiling.
    """
    statistics = _statistics(image)
    if not statistics:
        raise VolumeError(
            f"{image.path} carries no intensity statistics, which every chunk is normalised by. "
            f"Make them with `neuroconn convert {image.path} NEW.ome.zarr`."
        )
    return card.normalisation.constants(statistics)


def check_disk(output: Address, grid: ChunkGrid, dtype: str, batches: int) -> None:
    """Refuse a disk that cannot even hold what is in flight.

    Raises
    ------
    StorageError
        Naming the free and the needed space.
    """
    if isinstance(output, ObjectPath):
        return  # nobody says how much room a bucket has
    there = next(p for p in (output, *output.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    core = int(np.prod(grid.chunk)) * np.dtype(dtype).itemsize
    needed = 2 * core * min(batches, len(grid)) + (16 << 20)
    if free < needed:
        raise StorageError(
            f"{there} has {free / 2**20:.0f} MiB free; the chunks in flight alone may take "
            f"{needed / 2**20:.0f} MiB. Make room, or choose another output."
        )


def _statistics(image: Image) -> Mapping[str, Any]:
    found = image.attributes.get("intensity")
    return found if isinstance(found, Mapping) else {}


def _check_level(image: Image, level: int) -> None:
    if level >= len(image.levels):
        raise UsageError(
            f"level {level} is not in {image.path}, which has {len(image.levels)}; "
            f"set level: {len(image.levels) - 1} or less"
        )
    if image.kind != "brain":
        raise VolumeError(f"{image.path} is a distance map, not a brain of intensities")
    array = image.array(level)
    if array.dtype.kind not in "uif":
        raise VolumeError(f"{image.path} holds {array.dtype}, not grey values")


def _check_rules(job: Job) -> None:
    rules, clip = job.settings.evidence, job.card.clip
    if rules.threshold >= clip:
        raise ModelError(
            f"evidence.threshold {rules.threshold:g} is not below the model's clip of {clip:g}: "
            "every voxel would be neurite. Lower the threshold, or take another model."
        )
    if job.settings.halo >= 2 * job.settings.chunk and not job.settings.exact:
        raise HaloError(
            f"halo {job.settings.halo} is at least twice the chunk of {job.settings.chunk}: a tile "
            "would be 125 times its core. Use larger chunks, or set exact: true to insist."
        )
