"""What a TeraFly tree must be, rule by rule: how bad it is otherwise, why, and how to mend it.

The rules are those that TeraFly, TeraStitcher and their relatives keep or fail to check. Most of
them say nothing when broken: they show zeros, noise or another place instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""``error``: it will not open, or shows wrong voxels. ``warning``: legal, but troublesome.
``note``: good to know."""

DEEPEST = 256
"""Pages of a tile: a page is found by walking past all pages before it."""
MOST_PARTS = 65535
"""Rows or columns that the header of ``mdata.bin`` can count."""
COMPRESSIONS = {1: "none", 5: "lzw", 8: "zlib"}
"""Codes of TIFF compressions that every Vaa3D reads."""
ODD_COMPRESSIONS = {32773: "packbits", 32946: "old zlib"}
"""Codes that some Vaa3D reads."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the format."""

    severity: Severity
    """How bad it is to break it; single findings may be milder or graver."""
    why: str
    """What the software does about it."""
    mend: str
    """What to do, in one line."""
    repairable: bool = False
    """Whether ``--repair`` mends it."""


_AGAIN = "copy the tile again from where it was made"
_REWRITE = "write the tile again as a grey little-endian TIFF of strips: none, LZW or zlib"
_REBUILD = "check-vaa3d --repair rebuilds mdata.bin"
_EXPORT = "write the volume again, with neuroconn export or TeraConverter"
_RENAME = "rename folders and tiles, then let check-vaa3d --repair rebuild mdata.bin"


def _error(why: str, mend: str, *, repairable: bool = False) -> Rule:
    return Rule("error", why, mend, repairable)


def _warning(why: str, mend: str, *, repairable: bool = False) -> Rule:
    return Rule("warning", why, mend, repairable)


def _note(why: str, mend: str) -> Rule:
    return Rule("note", why, mend)


RULES: dict[str, Rule] = {
    "tree.levels": _error("TeraFly refuses fewer than two RES folders", _EXPORT),
    "tree.order": _error("levels are sorted by their voxels, and each must be coarser", _EXPORT),
    "tree.dtype": _error("one type for the whole volume: others crash the reader", _EXPORT),
    "tree.unfinished": _error(
        "an export or a copy is under way, or was broken off", "run the same export again"
    ),
    "tree.null-path": _error(
        "'NULL.tif' anywhere in a path marks an empty tile: all is read as zeros",
        "move the tree to a folder without NULL.tif in its path",
    ),
    "tree.path-length": _error(
        "Vaa3D keeps absolute paths in 1024 bytes, and writes past their end",
        "move the tree to a shorter path",
    ),
    "tree.coarsest": _warning(
        "the coarsest level is the map of the whole volume, and should fit in 256 x 256 x 256",
        _EXPORT,
    ),
    "tree.small": _warning(
        "a volume that fits in one view makes TeraFly read past its list of levels",
        "open it as a single v3draw or TIFF file",
    ),
    "tree.many-levels": _warning("more than 10 levels were never seen to work", _EXPORT),
    "tree.halving": _warning(
        "annotations made on this level land beside their neurite at full resolution", _EXPORT
    ),
    "tree.level-name": _warning(
        "tools that read the size from RES(YxXxZ) take another for it",
        "rename the folder to what its mdata.bin says",
    ),
    "tree.voxel-size": _warning(
        "levels disagree about the size of the brain",
        "check-vaa3d --repair --spacing Z Y X writes it on all levels", repairable=True,
    ),
    "tree.origin": _warning("levels disagree about where the brain lies", _EXPORT),
    "level.table-missing": _error(
        "the reader refuses the level, TeraFly asks by dialog", _REBUILD, repairable=True
    ),
    "level.tile-missing": _error(
        "a listed tile without a file is a hard error", "copy the tile again; an empty one is "
        "listed as NULL.tif",
    ),
    "level.layout": _error(
        "without mdata.bin, only a complete grid of tiles can be laid out", "copy the volume again"
    ),
    "level.format-missing": _warning(
        "TeraFly guesses the kind of volume and tries to write it down, which fails on read-only "
        "disks", "check-vaa3d --repair writes .iim.format", repairable=True,
    ),
    "level.format-wrong": _error(
        "the level is opened as another kind of volume, or not at all",
        "check-vaa3d --repair writes .iim.format", repairable=True,
    ),
    "level.stray": _warning(
        "it is taken for a tile, a row or a column when the volume is imported again",
        "move it out of the RES folder",
    ),
    "level.unlisted": _warning(
        "mdata.bin does not list the tile, so nobody sees it",
        "move it away, or delete mdata.bin and let check-vaa3d --repair rebuild it",
    ),
    "level.zlib": _note(
        "Vaa3D reads zlib, but v3d-py-helper 0.4 is built without it and reads zeros, silently",
        "write none or LZW for those who read the volume in Python",
    ),
    "table.damaged": _error("mdata.bin cannot be read", _REBUILD, repairable=True),
    "table.version": _error("readers know version 2 alone", _REBUILD, repairable=True),
    "table.axes": _error(
        "only (1, 2, 3) is safe: others are refused, mirrored or turned", _EXPORT
    ),
    "table.voxel-size": _error(
        "without a voxel size nothing can be placed",
        "check-vaa3d --repair --spacing Z Y X writes it", repairable=True,
    ),
    "table.origin": _warning("places below zero, or no numbers, cannot be named", _EXPORT),
    "table.partition": _error(
        "tiles that overlap, leave holes or leave the volume show other places",
        _REBUILD, repairable=True,
    ),
    "table.z-partition": _error(
        "the z ranges of the first column are used for all columns", _REBUILD, repairable=True
    ),
    "table.channels": _error("tiles must have one grey channel", _EXPORT),
    "table.bytes": _error(
        "the bytes of the first tile are used for all: 1 or 2, the same everywhere",
        _REBUILD, repairable=True,
    ),
    "table.path": _error("a name leads out of the level, or cannot be printed", _REBUILD,
                         repairable=True),
    "table.duplicate": _error("one tile would show at two places", _REBUILD, repairable=True),
    "tile.thin": _note("tiles one voxel wide were never tried", _EXPORT),
    "tile.deep": _warning(
        "pages are found by walking the file: reading grows with the square of the depth", _EXPORT
    ),
    "names.pattern": _warning(
        "names that are not YYYYYY/YYYYYY_XXXXXX/YYYYYY_XXXXXX_ZZZZZZ.tif tell other tools nothing",
        _RENAME,
    ),
    "names.width": _warning(
        "numbers of several widths sort one way as text and another as numbers", _RENAME
    ),
    "names.order": _warning(
        "a new import sorts names as text, and puts tiles into other places", _RENAME
    ),
    "names.position": _note(
        "the numbers in names are not where mdata.bin puts the tiles; a new import takes the "
        "origin from the first",
        "none needed while mdata.bin is there",
    ),
    "tile.unreadable": _error("no reader opens it", _AGAIN),
    "tile.truncated": _error("what is missing is read as zeros, without a word", _AGAIN),
    "tile.suffix": _error("the last three letters choose the reader: tif or raw", "rename it"),
    "tile.byte-order": _error("big-endian compressed tiles are read as noise", _REWRITE),
    "tile.tiled": _error("TIFF tiles inside the file are read as noise", _REWRITE),
    "tile.strips": _error("a page without all its strips is read as zeros", _AGAIN),
    "tile.rows-per-strip": _error("readers fail where RowsPerStrip is missing", _REWRITE),
    "tile.compression": _error("unknown compressions are read as noise or zeros", _REWRITE),
    "tile.samples": _error("one colour tile among grey ones crashes the reader", _REWRITE),
    "tile.bits": _error("tiles have 8 or 16 bits", _REWRITE),
    "tile.sample-format": _error("tiles are unsigned whatever they say", _REWRITE),
    "tile.dtype": _error("'source data type differs from destination pixel size'", _REWRITE),
    "tile.pages": _error("pages that differ in size or kind crash the reader", _REWRITE),
    "tile.depth": _error("mdata.bin lists another number of slices", _AGAIN),
    "tile.size": _error("mdata.bin lists another height and width", _AGAIN),
    "tile.page-number": _error(
        "readers trust the total in PageNumber: brains did not open for weeks over it",
        "check-vaa3d --repair writes it right", repairable=True,
    ),
    "tile.photometric": _error("PhotometricInterpretation must be there, and be 1", _REWRITE),
    "tile.planar": _warning("PlanarConfig must be 1", _REWRITE),
    "tile.orientation": _warning("some readers turn the image, some do not", _REWRITE),
    "tile.stack": _error("the v3draw tile is not what mdata.bin says", _AGAIN),
    "pixels.undecodable": _error("the voxels of the tile are damaged", _AGAIN),
    "pixels.pyramid": _warning(
        "the level is neither the maximum nor the mean of the level below", _EXPORT
    ),
    "pixels.power-of-two": _note(
        "TeraFly shows the brightest voxels of a 16-bit view black where they are a power of two",
        "neuroconn export avoids them; uint8 has no such fault",
    ),
    "pixels.empty": _note(
        "stored tiles that are all zeros could be NULL.tif in mdata.bin", "none needed"
    ),
}  # fmt: skip
"""Every rule by its name."""
