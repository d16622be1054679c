"""``neuroconn dataset``: annotated brains become crops on disk.

1. Open and check every brain; plan the crops (no voxel is read).
2. Make the folder with all metadata in one step; an interrupted build is taken up by its journal.
3. For each shard: cut its crops, write image, centreline and distance, note it in the journal.
4. Write the annotation near each crop, the figures, and last the mark that all is there.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from neuroconn._version import __version__
from neuroconn.annotation import Graph, distance_map, render, swc_files
from neuroconn.config.crops import DatasetSettings
from neuroconn.errors import AnnotationError, UsageError
from neuroconn.inference.identity import brain_identity, digest
from neuroconn.training.annotated import AnnotatedBrain, open_annotated
from neuroconn.training.crop import SPLITS
from neuroconn.training.dataset.excerpts import Excerpts
from neuroconn.training.dataset.figures import draw
from neuroconn.training.dataset.folder import BuildFolder, is_finished
from neuroconn.training.dataset.layout import VOLUMES, write_rows
from neuroconn.training.dataset.plan import Cubes, Plan, cubes_of, plan_of
from neuroconn.training.dataset.report import DatasetReport, report_of
from neuroconn.training.dataset.squares import encode
from neuroconn.volume import read_region

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Work:
    """What a build knows before it writes anything."""

    settings: DatasetSettings
    brains: list[AnnotatedBrain]
    cubes: list[Cubes]
    plan: Plan
    provenance: dict[str, Any]


def dataset(
    settings: DatasetSettings,
    output: str | Path,
    *,
    resume: bool = True,
    progress: Progress | None = None,
) -> DatasetReport:
    """Cut crops of annotated brains into a Zarr dataset to train on.

    Parameters
    ----------
    settings : DatasetSettings
        Brains, size of the crops, minimum of neurite, clip, regions.
    output : path
        Folder to make. The same settings continue a build that was interrupted: the result is that
        of an uninterrupted one, byte for byte. A finished one is left as it is.
    resume : bool, optional
        False refuses to continue.
    progress : callable, optional
        Called as ``progress(done, crops)``.

    Returns
    -------
    DatasetReport
        Crops kept and cubes seen, for every brain and split.

    Raises
    ------
    VolumeError, AnnotationError
        If a brain or its annotation cannot be used; see `open_annotated`.
    UsageError
        If the crops do not fit, the brains do not fit together, or no crop holds enough neurite.
    OutputError
        If the folder holds anything else.
    StorageError
        If the disk is full; the same command continues.

    Examples
    --------
    >>> from neuroconn.config.crops import DatasetBrain, DatasetSettings
    >>> brain = DatasetBrain(brain="brain.ome.zarr", swc=("neuron.swc",), units="um")
    >>> dataset(DatasetSettings(brains=(brain,)), "crops.zarr")  # doctest: +SKIP
    """
    work, path = _prepare(settings), Path(output)
    if not is_finished(path, work.provenance, resume=resume):
        _build(path, work, progress)
    return report_of(path, work.cubes, work.plan, work.provenance)


def _build(path: Path, work: _Work, progress: Progress | None) -> None:
    graphs = [Graph.from_forest(brain.forest) for brain in work.brains]
    excerpts = Excerpts(work.plan, graphs, reach=work.settings.clip)
    with BuildFolder.open(
        path,
        work.plan,
        work.provenance,
        dtype=work.brains[0].image.array(0).dtype,
        clip=work.settings.clip,
        compression=work.settings.compression,
        excerpts=excerpts,
    ) as folder:
        _write_volumes(folder, work, progress)
        excerpts.write(folder.group)
        folder.write_tables(work.plan, excerpts)
        draw(folder.figures, folder.group, work.cubes, work.provenance["brains"], work.settings)
        folder.finish()


def _prepare(settings: DatasetSettings) -> _Work:
    brains = [open_annotated(brain) for brain in settings.brains]
    _check_together(brains, settings)
    cubes = [
        cubes_of(brain.forest, brain.shape, source, settings, number=number)
        for number, (brain, source) in enumerate(zip(brains, settings.brains, strict=True))
    ]
    plan = plan_of(cubes, settings.size)
    if not len(plan):
        most = max((int(c.voxels.max(initial=0)) for c in cubes), default=0)
        raise AnnotationError(
            f"no cube of {settings.size} voxels holds {settings.minimum_voxels} neurite voxels "
            f"(the best holds {most}): lower minimum_voxels, or check how the SWC is placed"
        )
    for number, name in enumerate(SPLITS):
        meant = any(part == name for found in cubes for part, _ in found.regions)
        if meant and not (plan.splits == number).any():
            logger.warning(
                "no crop for %s: its region holds no cube with %d neurite voxels. Try another "
                "--seed, a larger share or a smaller size",
                name,
                settings.minimum_voxels,
            )
    return _Work(settings, brains, cubes, plan, _provenance(settings, brains))


def _check_together(brains: Sequence[AnnotatedBrain], settings: DatasetSettings) -> None:
    """Brains of one dataset have one type of voxel and, unless told otherwise, one size."""
    types = {str(brain.image.array(0).dtype): brain.name for brain in brains}
    if len(types) > 1:
        listed = ", ".join(f"{name} ({kind})" for kind, name in types.items())
        raise UsageError(
            f"the brains differ in their type of voxel: {listed}. Convert them with the same "
            "--dtype, or make a dataset of each: neuroconn train takes several"
        )
    first = brains[0]
    for brain in brains[1:]:
        one, other = first.image.frame.spacing_um, brain.image.frame.spacing_um
        if not settings.mixed_spacing and not np.allclose(one, other, rtol=0.05):
            raise UsageError(
                f"{first.name} has voxels of {one} µm (z, y, x) and {brain.name} of {other}: "
                "neurites would have two thicknesses. Convert both at one spacing, make a dataset "
                "of each, or set mixed_spacing: true (--mixed-spacing) to learn both"
            )


def _write_volumes(folder: BuildFolder, work: _Work, progress: Progress | None) -> None:
    """Write the crops of every shard that the journal does not name."""
    arrays = {name: _array(folder.group, name) for name in VOLUMES}
    per, count = (arrays["image"].shards or (1,))[0], len(work.plan)
    for first in range(0, count, per):
        last = min(first + per, count)
        if first not in folder.done:
            made: dict[str, list[Any]] = {name: [] for name in VOLUMES}
            for number in range(first, last):
                for name, voxels in _cut(work, number).items():
                    made[name].append(voxels)
                if progress is not None:
                    progress(number, count)
            for name, array in arrays.items():
                write_rows(array, first, np.stack(made.pop(name)))
            folder.note(first, arrays)
        if progress is not None:
            progress(last, count)


def _cut(work: _Work, number: int) -> dict[str, Any]:
    """Cut one crop out of its brain; its distances know the neurites just outside."""
    brain = work.brains[int(work.plan.brain[number])]
    box, clip = work.plan.box(number), work.settings.clip
    block = box.grow(int(np.ceil(clip)))
    centreline = render(brain.forest, block)
    inner = box.within(block)
    return {
        "image": read_region(brain.image.array(0), box),
        "centreline": np.ascontiguousarray(centreline[inner]),
        "distance": encode(distance_map(centreline, clip=clip)[inner], clip),
    }


def _provenance(settings: DatasetSettings, brains: Sequence[AnnotatedBrain]) -> dict[str, Any]:
    """Everything the bytes depend on, and where they come from; JSON."""
    told = settings.model_dump(mode="json")
    sources = told.pop("brains")
    return {
        "settings": told,
        "brains": [_of_brain(brain, source) for brain, source in zip(brains, sources, strict=True)],
        "version": __version__,
    }


def _of_brain(brain: AnnotatedBrain, source: Mapping[str, Any]) -> dict[str, Any]:
    paths = swc_files(source["swc"])
    statistics = {k: v for k, v in brain.statistics.items() if k != "histogram"}
    return {
        **{k: v for k, v in source.items() if k != "swc"},
        "name": Path(brain.name).name,
        "identity": digest(brain_identity(brain.image, 0)),
        "shape": list(brain.shape),
        "spacing_um": list(brain.image.frame.spacing_um),
        "intensity": statistics,
        "swc": [
            {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for path in paths
        ],
        "nodes": len(brain.forest),
        "length": round(brain.forest.length, 3),
        "alignment": {
            "inside": brain.alignment.inside,
            "percentile": brain.alignment.percentile,
        },
    }


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array
