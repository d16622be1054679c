"""One tile against the rules: its TIFF tags, and what its table says about it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX
from neuroconn.vaa3d.conformance.findings import Finding, finding
from neuroconn.vaa3d.conformance.rules import COMPRESSIONS, DEEPEST, ODD_COMPRESSIONS
from neuroconn.vaa3d.conformance.tiff import Layout, Page, TiffFacts, TiffFault, read_tiff

TIFF_SUFFIXES = (".tif", ".tiff")
STACK_SUFFIXES = (".raw", ".v3draw")


@dataclass(frozen=True, slots=True)
class Expected:
    """What ``mdata.bin`` says about a tile."""

    shape: ZYX
    itemsize: int
    """Bytes per voxel."""


@dataclass(frozen=True, slots=True)
class JudgedTile:
    """What was found out about a tile."""

    findings: tuple[Finding, ...]
    bytes: int = 0
    encoding: str = "unknown"


def judge_tile(path: Path, where: str, expected: Expected | None) -> JudgedTile:
    """Check a tile that exists.

    Parameters
    ----------
    path : Path
        The file.
    where : str
        How findings call it.
    expected : Expected, optional
        What the table says about it, where there is one.
    """
    odd = [] if path.name[-3:] in ("tif", "raw") else [f"its name ends in {path.name[-4:]!r}"]
    found = [finding("tile.suffix", where, what) for what in odd]
    try:
        if path.suffix.lower() in STACK_SUFFIXES:
            found += _judge_stack(path, where, expected)
            return JudgedTile(tuple(found), path.stat().st_size, "v3draw")
        facts = read_tiff(path)
    except OSError as error:
        return JudgedTile((*found, finding("tile.unreadable", where, str(error.strerror))))
    except TiffFault as fault:
        return JudgedTile((*found, finding(f"tile.{fault.kind}", where, fault.what)))
    found += [finding(rule, where, what) if not mild else finding(rule, where, what, "warning")
              for rule, what, mild in _judge_tiff(facts, expected)]  # fmt: skip
    code = facts.pages[0].layout.compression if facts.pages else None
    name = (COMPRESSIONS | ODD_COMPRESSIONS).get(code or 1, f"compression {code}")
    return JudgedTile(tuple(found), facts.size, name)


_Verdict = tuple[str, str, bool]
"""A rule, what broke it, and whether it is a warning only."""


def _judge_tiff(facts: TiffFacts, expected: Expected | None) -> Iterator[_Verdict]:
    pages = facts.pages
    if facts.fault is not None:
        yield f"tile.{facts.fault.kind}", facts.fault.what, False
    if not pages:
        if facts.fault is None:
            yield "tile.unreadable", "it holds no page", False
        return
    first = pages[0].layout
    if facts.order == ">":
        packed = first.compression not in (None, 1)
        yield "tile.byte-order", f"big-endian, {'' if packed else 'not '}compressed", not packed
    yield from _judge_layout(first)
    yield from _judge_alike(pages)
    yield from _judge_strips(facts)
    yield from _judge_numbers(pages)
    if expected is None:
        if len(pages) > DEEPEST:
            yield "tile.deep", f"{len(pages)} pages", True
        return
    yield from _judge_expected(facts, expected)


def _judge_layout(page: Layout) -> Iterator[_Verdict]:
    if page.tiled:
        yield "tile.tiled", "its pages are cut into TIFF tiles", False
    elif page.rows_per_strip is None:
        yield "tile.rows-per-strip", "RowsPerStrip is missing", False
    if page.compression not in COMPRESSIONS:
        odd = ODD_COMPRESSIONS.get(page.compression or 0)
        yield "tile.compression", odd or f"compression {page.compression}", odd is not None
    if page.samples != 1:
        yield "tile.samples", f"{page.samples} samples a pixel", False
    if page.bits not in (8, 16):
        yield "tile.bits", f"{page.bits} bits a sample", False
    if page.sample_format not in (1, 4):
        signed = page.sample_format == 2
        kind = "signed" if signed else {3: "floating"}.get(page.sample_format, "unknown")
        yield "tile.sample-format", f"{kind} voxels, read as unsigned", signed
    if page.photometric != 1:
        what = {None: "it is missing", 0: "white is zero", 2: "colour", 3: "a palette"}
        yield (
            "tile.photometric",
            what.get(page.photometric, f"it is {page.photometric}"),
            page.photometric is not None,
        )
    if page.planar != 1:
        yield "tile.planar", f"PlanarConfig {page.planar}", True
    if page.orientation != 1:
        yield "tile.orientation", f"Orientation {page.orientation}", True


def _judge_alike(pages: tuple[Page, ...]) -> Iterator[_Verdict]:
    first = pages[0].layout
    for number, page in enumerate(pages):
        # Equal pages share one object, so that most comparisons look no further.
        if page.layout is not first and page.layout != first:
            name, here, there = next(
                (f.name, a, b)
                for f in fields(Layout)
                if (a := getattr(first, f.name)) != (b := getattr(page.layout, f.name))
            )
            yield "tile.pages", f"page {number} has {name} {there}, page 0 has {here}", False
            return


def _judge_strips(facts: TiffFacts) -> Iterator[_Verdict]:
    broken, cut = [], []
    for number, page in enumerate(facts.pages):
        layout = page.layout
        if layout.tiled:
            continue
        rows = min(layout.rows_per_strip or layout.height or 1, layout.height or 1) or 1
        wanted = math.ceil((layout.height or 1) / rows)
        if page.hole or page.strips < wanted:
            broken.append(number)
        elif page.end > facts.size or (layout.compression == 1 and page.stored < _plain(layout)):
            cut.append(number)
    if broken:
        yield "tile.strips", f"{_pages(broken)} without all strips", False
    if cut:
        yield "tile.truncated", f"the voxels of {_pages(cut)} end after the file does", False


def _plain(layout: Layout) -> int:
    """Bytes of an uncompressed page."""
    width = (layout.width or 0) * layout.samples * (layout.bits or 8)
    return (layout.height or 0) * math.ceil(width / 8)


def _judge_numbers(pages: tuple[Page, ...]) -> Iterator[_Verdict]:
    total = len(pages)
    wrong = [i for i, p in enumerate(pages) if p.number is not None and p.number != (i, total)]
    absent = sum(page.number is None for page in pages)
    if wrong:
        said = pages[wrong[0]].number
        what = f"{len(wrong)} of {total} pages: page {wrong[0]} says {said}"
        yield "tile.page-number", what, False
    elif 0 < absent < total:
        yield "tile.page-number", f"{absent} of {total} pages have none", True


def _judge_expected(facts: TiffFacts, expected: Expected) -> Iterator[_Verdict]:
    depth, height, width = expected.shape
    layout = facts.pages[0].layout
    if len(facts.pages) != depth and facts.fault is None:
        yield "tile.depth", f"{len(facts.pages)} pages, mdata.bin lists {depth}", False
    if (layout.height, layout.width) != (height, width):
        yield (
            "tile.size",
            f"pages of {layout.height} x {layout.width} (y, x), mdata.bin lists {height} x {width}",
            False,
        )
    if layout.bits in (8, 16) and layout.bits != 8 * expected.itemsize:
        yield "tile.dtype", f"{layout.bits} bits, mdata.bin lists {8 * expected.itemsize}", False


def _judge_stack(path: Path, where: str, expected: Expected | None) -> Iterator[Finding]:
    from neuroconn.vaa3d.v3draw import v3draw_layout

    try:
        (channels, *sides), dtype = v3draw_layout(path)
    except VolumeError as error:
        yield finding("tile.stack", where, str(error).removeprefix(f"{path} "))
        return
    if channels != 1:
        yield finding("tile.samples", where, f"{channels} channels")
    if dtype.itemsize > 2:
        yield finding("tile.bits", where, f"{8 * dtype.itemsize} bits a sample")
    elif expected is not None and dtype.itemsize != expected.itemsize:
        listed = 8 * expected.itemsize
        yield finding("tile.dtype", where, f"{8 * dtype.itemsize} bits, mdata.bin lists {listed}")
    if expected is not None and tuple(sides) != expected.shape:
        what = f"{tuple(sides)} voxels (z, y, x), mdata.bin lists {expected.shape}"
        yield finding("tile.stack", where, what)


def _pages(numbers: list[int]) -> str:
    """Name some pages.

    Examples
    --------
    >>> _pages([3]), _pages([0, 1, 7])
    ('page 3', '3 pages from page 0')
    """
    if len(numbers) == 1:
        return f"page {numbers[0]}"
    return f"{len(numbers)} pages from page {numbers[0]}"
