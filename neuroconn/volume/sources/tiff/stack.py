"""The planes of one volume in one TIFF file, or in the files of one OME-TIFF."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from neuroconn.errors import UsageError, VolumeError
from neuroconn.volume.sources.base import Choice, chosen_channel
from neuroconn.volume.sources.tiff.codecs import Decoders
from neuroconn.volume.sources.tiff.contents import Page, Pages, read_pages
from neuroconn.volume.sources.tiff.metadata import (
    Declared,
    Spacing,
    agreed,
    imagej,
    resolution_note,
    shaped,
)
from neuroconn.volume.sources.tiff.ome import OmeImage, ome_image, plane_table
from neuroconn.volume.sources.tiff.plane import Plane
from neuroconn.volume.sources.tiff.slices import few, listed


@dataclass(frozen=True, slots=True)
class Stack:
    """The planes of the chosen channel, in z order, and what the file says about them."""

    planes: list[Plane]
    description: str
    spacing_um: Spacing | None
    channels: int
    notes: tuple[str, ...]


def stack_of(path: Path, choice: Choice, decoders: Decoders, *, plain: bool = False) -> Stack:
    """Read what a file holds and pick the planes of the chosen volume and channel.

    Parameters
    ----------
    path : path
        A TIFF file.
    choice : Choice
        ``channel`` of several channels or samples; ``dataset``, a number or a name, of several
        series or OME images.
    decoders : Decoders
        Shared by all files of a source.
    plain : bool, optional
        Take a file of a single page for a plane, whatever its OME-XML says about other files.

    Raises
    ------
    VolumeError
        If the file is damaged or what is in it is not one grey volume.
    UsageError
        If the chosen channel or series does not exist.
    """
    file = read_pages(path, decoders)
    text = file.ome
    if text is not None and not (plain and len(file.pages) == 1):
        return _ome_stack(file, ome_image(text, path, choice), choice, decoders)
    series = _series(file)
    chosen = series[_series_number(series, path, choice)]
    planes = _good(chosen, path)
    declared = _declared(file, chosen, planes[0])
    if declared.sizes is not None:
        planes = _all_planes(planes, declared, path)
    picked, channels = _picked(planes, declared, choice, path)
    notes = (*declared.notes, *_extra_notes(file), *page_notes(picked))
    description = f"{declared.origin} of {len(picked)} planes"
    return Stack(picked, description, declared.spacing_um, channels, notes)


def page_notes(planes: Sequence[Plane]) -> tuple[str, ...]:
    """Say what is unusual about how planes are stored."""
    turned = {p.layout.orientation for p in planes} - {1}
    bits = {p.layout.bits for p in planes if p.layout.bits < 8 * p.layout.dtype.itemsize}
    notes = []
    if turned:
        notes.append(
            f"the orientation tag says {', '.join(map(str, sorted(turned)))}: rows and columns "
            "are taken as they are stored, nothing is turned or mirrored"
        )
    if bits:
        types = ", ".join(sorted({p.layout.dtype.name for p in planes}))
        notes.append(f"voxels of {', '.join(map(str, sorted(bits)))} bits are unpacked to {types}")
    return tuple(notes)


def _ome_stack(file: Pages, image: OmeImage, choice: Choice, decoders: Decoders) -> Stack:
    path = file.path
    _one_time_point(image.sizes[2], path)
    files = {path: file, **_companions(image, path, decoders)}
    samples = _samples(image, files)
    table = plane_table(image, samples, lambda p: len(files[p].pages), path)
    channel = chosen_channel(image.sizes[1], choice, str(path))
    places = [table[channel // samples, z] for z in range(image.sizes[0])]
    planes = _good([files[p].pages[k] for p, k in places], path)
    for plane in planes:
        if plane.layout.shape != image.shape or plane.layout.samples != samples:
            raise VolumeError(
                f"{plane.where} has {plane.layout.shape} voxels and {plane.layout.samples} samples,"
                f" its OME-XML says {image.shape} and {samples}: one of them was edited"
            )
    picked = [plane.of_sample(channel % samples) for plane in planes]
    notes, claims = image.notes, [("OME-XML", image.spacing_um)]
    if file.imagej is not None:
        claims.append(("ImageJ", imagej(file.imagej, file.per_pixel, str(path)).spacing_um))
    spacing, contradiction = agreed(claims)
    if len(files) > 1:
        notes = (*notes, f"OME-XML lays the volume over {len(image.paths)} files; all are read")
    notes = (*notes, *contradiction, *page_notes(picked))
    description = f"OME-TIFF of {len(picked)} planes"
    return Stack(picked, description, spacing, image.sizes[1], notes)


def _samples(image: OmeImage, files: dict[Path, Pages]) -> int:
    """Return the samples a pixel of the first plane; a damaged one is named later."""
    block = image.blocks[0]
    pages = files[block.path].pages
    first = pages[min(block.directory, len(pages) - 1)].plane
    return first.layout.samples if isinstance(first, Plane) else 1


def _companions(image: OmeImage, path: Path, decoders: Decoders) -> dict[Path, Pages]:
    others = [other for other in image.paths if other != path]
    missing = [other.name for other in others if not other.is_file()]
    if missing:
        raise VolumeError(
            f"{path} belongs to an OME-TIFF of {len(image.paths)} files, of which {len(missing)} "
            f"are missing: {few(missing)}. Copy all of them into one folder"
        )
    return {other: read_pages(other, decoders) for other in others}


def _good(pages: Sequence[Page], path: Path) -> list[Plane]:
    """Return the planes of pages, if none of them is damaged."""
    problems = [str(page.plane) for page in pages if isinstance(page.plane, VolumeError)]
    if len(problems) == len(pages) > 1:
        raise VolumeError(f"{problems[0]} (and so it is with all {len(pages)} pages)")
    if problems:
        raise VolumeError(listed(problems, len(pages), f"pages of {path}"))
    return [page.plane for page in pages if isinstance(page.plane, Plane)]


def _series(file: Pages) -> list[list[Page]]:
    """Cut the pages where their size or type changes, or where tifffile begins another array."""
    series: list[list[Page]] = []
    main = [page for page in file.pages if not page.extra]
    if not main:
        raise VolumeError(f"{file.path} holds nothing but thumbnails or masks")
    for page, plane in zip(main, _good(main, file.path), strict=True):
        begins = not series or _kind(series[-1][0]) != plane.kind
        if not begins and page.shaped:
            here = shaped(page.shaped, _plane_size(plane), str(file.path))
            begins = here is not None and here.sizes is not None and math.prod(here.sizes) > 1
        if begins:
            series.append([])
        series[-1].append(page)
    return series


def _series_number(series: list[list[Page]], path: Path, choice: Choice) -> int:
    if choice.dataset is not None:
        if choice.dataset.isdecimal() and int(choice.dataset) < len(series):
            return int(choice.dataset)
        raise UsageError(f"{path} holds no series {choice.dataset!r}; it has {_shown(series)}")
    if len(series) == 1:
        return 0
    raise VolumeError(
        f"{path} holds {len(series)} series of pages that are not alike and a brain is one volume; "
        f"choose with --dataset: {_shown(series)}"
    )


def _shown(series: list[list[Page]]) -> str:
    texts = []
    for number, pages in enumerate(series[:6]):
        (height, width), dtype, samples = _kind(pages[0])
        colours = f" of {samples} samples" if samples > 1 else ""
        texts.append(f"{number} ({len(pages)} x {height} x {width} {np.dtype(dtype)}{colours})")
    return ", ".join(texts) + (f" and {len(series) - 6} more" if len(series) > 6 else "")


def _kind(page: Page) -> tuple[tuple[int, int], str, int]:
    assert isinstance(page.plane, Plane)
    return page.plane.kind


def _plane_size(plane: Plane) -> int:
    return math.prod(plane.layout.shape) * plane.layout.samples


def _declared(file: Pages, series: Sequence[Page], first: Plane) -> Declared:
    where = str(file.path)
    if file.imagej is not None:
        return imagej(file.imagej, file.per_pixel, where)
    found = shaped(series[0].shaped, _plane_size(first), where) if series[0].shaped else None
    if found is not None and len(series) > 1 and found.sizes == (1, 1, 1):
        found = None  # written page by page
    found = found or Declared("TIFF stack")
    return replace(found, notes=resolution_note(file.per_pixel, file.resolution_unit))


def _all_planes(planes: list[Plane], declared: Declared, path: Path) -> list[Plane]:
    """Match pages with the declared planes; ImageJ beyond 4 GB lists only the first of them."""
    assert declared.sizes is not None
    count, first = math.prod(declared.sizes), planes[0]
    if count == len(planes):
        return planes
    if len(planes) == 1 and first.start is not None and first.layout.samples == 1:
        size, start = first.layout.segment_bytes, first.start
        if start + count * size <= first.file.size:
            return [replace(first, page=k, start=start + k * size) for k in range(count)]
    raise VolumeError(
        f"{path} declares {count} planes and holds {len(planes)}: it is truncated or was edited. "
        "Copy or export it again"
    )


def _picked(
    planes: list[Plane], declared: Declared, choice: Choice, path: Path
) -> tuple[list[Plane], int]:
    """Return the planes of the chosen channel and how many channels there are."""
    t, z, c = declared.sizes or (1, len(planes), 1)
    samples = planes[0].layout.samples
    _one_time_point(t, path)
    channel = chosen_channel(c * samples, choice, str(path))
    sizes = {"T": t, "Z": z, "C": c}
    places = np.arange(len(planes)).reshape([sizes[axis] for axis in declared.order])
    wanted = places.take(channel // samples, axis=declared.order.index("C")).ravel()
    return [planes[k].of_sample(channel % samples) for k in wanted], c * samples


def _one_time_point(count: int, path: Path) -> None:
    if count > 1:
        raise VolumeError(
            f"{path} is a time series of {count} frames; save the one to convert (if these are z "
            "planes, save them as slices)"
        )


def _extra_notes(file: Pages) -> tuple[str, ...]:
    count = sum(page.extra for page in file.pages)
    return (f"{count} pages are thumbnails, masks or reduced copies: not read",) if count else ()
