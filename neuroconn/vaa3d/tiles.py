"""Tiles on disk: multi-page TIFF that every Vaa3D can read, and a reader that trusts nothing.

Vaa3D's own TIFF code returns garbage, without an error, for internally tiled, big-endian
compressed and truncated files. So tiles are little-endian, one strip per page, deflate or plain.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import ZYX

Compression = Literal["zlib", "lzw", "none"]
"""Every Vaa3D reads all three. The wheels of ``v3d-py-helper`` 0.4 hold a TIFF library without
deflate and read ``zlib`` tiles as zeros, silently; ``lzw`` needs imagecodecs to write and read."""
STACKS = (".raw", ".v3draw")
"""Suffixes of tiles that are v3draw stacks; all others are TIFF."""
STRIP_BYTES = 1 << 28
"""A page is one strip, which views fastest, unless it is larger than this."""
UNSIGNED = (np.dtype(np.uint8), np.dtype(np.uint16))


def check_grey(dtype: Any, what: str = "a tile") -> np.dtype[Any]:
    """Return ``dtype`` if Vaa3D can show it.

    Raises
    ------
    UsageError
        If it is not uint8 or uint16. Signed tiles are read as unsigned, floats not at all.
    """
    kind: np.dtype[Any] = np.dtype(dtype)
    if kind not in UNSIGNED:
        raise UsageError(f"{what} must be uint8 or uint16, not {kind}")
    return kind


def check_compression(compression: Compression) -> None:
    """Refuse a compression this installation cannot write.

    Raises
    ------
    UsageError
        If it is ``lzw`` and imagecodecs is not installed.
    """
    if compression == "lzw" and find_spec("imagecodecs") is None:
        raise UsageError("lzw needs imagecodecs: pip install 'neuroconn[tiff]', or use zlib")


def write_tiff(
    path: Path,
    pages: Iterable[NDArray[Any]],
    *,
    compression: Compression = "none",
    bigtiff: bool = False,
    resolution: tuple[float, float] | None = None,
    description: str | None = None,
) -> None:
    """Write (y, x) pages, or (y, x, 3) colour pages, one strip each but for huge ones.

    Parameters
    ----------
    path : Path
        Overwritten; not fsynced.
    pages : iterable of ndarray
        uint8 or uint16, all of one shape and dtype. One page is in memory at a time.
    compression : "zlib", "lzw" or "none"
        On noisy images zlib takes about 0.65 and lzw 0.74 of the space, and seven times as long to
        write; lzw is faster to view.
    bigtiff : bool, optional
        64-bit offsets, for files past 4 GB.
    resolution : (x, y) floats, optional
        Pixels per unit; which one, the description says.
    description : str, optional
        Of the first page.
    """
    with tifffile.TiffWriter(path, byteorder="<", bigtiff=bigtiff) as writer:
        for number, page in enumerate(pages):
            colour = page.ndim == 3
            writer.write(
                np.ascontiguousarray(page),
                photometric="rgb" if colour else "minisblack",
                planarconfig="contig" if colour else None,
                # Page tags beyond the required ones have broken readers; PageNumber above all.
                metadata=None,
                description=None if number else description,
                software=False,
                contiguous=False,
                rowsperstrip=min(len(page), max(1, STRIP_BYTES // page[0].nbytes)),
                compression=None if compression == "none" else compression,
                resolution=resolution,
                resolutionunit=None if resolution is None else "NONE",
                maxworkers=1,
            )


def write_tile(path: Path, tile: NDArray[Any], *, compression: Compression = "none") -> None:
    """Write one (z, y, x) tile of uint8 or uint16, one strip a page.

    Raises
    ------
    UsageError
        If the tile is not a grey volume of unsigned integers.
    """
    check_grey(tile.dtype)
    if tile.ndim != 3:
        raise UsageError(
            f"a tile must be grey (z, y, x), got shape {tile.shape}: one RGB tile crashes TeraFly"
        )
    with tifffile.TiffWriter(path, byteorder="<", bigtiff=False) as writer:
        # All pages in one call: a call each would cost more than writing them does.
        writer.write(
            np.ascontiguousarray(tile),
            photometric="minisblack",
            metadata=None,
            software=False,
            contiguous=False,
            rowsperstrip=tile.shape[1],
            compression=None if compression == "none" else compression,
            maxworkers=1,
        )


def read_tile(path: Path, shape: ZYX, dtype: np.dtype[Any], planes: slice) -> NDArray[Any]:
    """Read z ``planes`` of a tile that should have ``shape`` and ``dtype``.

    Raises
    ------
    VolumeError
        If the file is missing, damaged or cut off, or is not what the tile table says.
    """
    if path.suffix.lower() in STACKS:
        from neuroconn.vaa3d.v3draw import open_v3draw

        stack: NDArray[Any] = open_v3draw(path)
        _expect(path, stack.shape, (1, *shape), stack.dtype, dtype)
        return np.asarray(stack[0, planes]).astype(dtype)
    try:
        with tifffile.TiffFile(path) as tif:
            first = tif.pages.first
            found = (len(tif.pages), *first.shape)
            _expect(path, found, shape, first.dtype, dtype)
            pages = [tif.pages[k] for k in range(shape[0])[planes]]
            return np.stack([_page(page, shape[1:], dtype) for page in pages])
    except FileNotFoundError:
        raise VolumeError(f"{path} is missing, but its volume lists it: copy it again") from None
    except VolumeError:
        raise
    except Exception as error:  # of damaged files, tifffile raises anything at all
        hint = " (pip install 'neuroconn[tiff]' reads LZW)" if "imagecodecs" in str(error) else ""
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise VolumeError(f"{path} cannot be read: {reason}{hint}") from error


def _page(page: Any, shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    # tifffile fills missing strips with zeros; a hole in a brain must not pass for background.
    if 0 in page.databytecounts or len(page.databytecounts) == 0:
        raise ValueError(f"page {page.index} has no data")
    if page.shape != shape or page.dtype is None or page.dtype.itemsize != dtype.itemsize:
        raise ValueError(f"page {page.index} is {page.dtype} {page.shape}, not {dtype} {shape}")
    return np.asarray(page.asarray(maxworkers=1)).view(dtype)


def _expect(
    path: Path, found: tuple[int, ...], shape: tuple[int, ...], dtype: Any, wanted: np.dtype[Any]
) -> None:
    # Signedness is ignored, as Vaa3D does: old overlays were written as int16.
    if found != tuple(shape) or np.dtype(dtype).itemsize != wanted.itemsize:
        raise VolumeError(
            f"{path} holds {dtype} {found} where its volume lists {wanted} {tuple(shape)}"
        )
