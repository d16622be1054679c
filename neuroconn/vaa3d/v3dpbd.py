"""v3dpbd, Vaa3D's compressed stack: decoded by ``v3d-py-helper``, which must be guarded.

The library follows a damaged file out of its buffers, and leaves zeros where one ends early. So the
file is first walked run by run, without decoding: it is handed over only if its runs yield exactly
the voxels that its header announces. A run begins with a byte that says what it is:

=============  ======================  ==================
8 bit          voxels                  bytes that follow
=============  ======================  ==================
n <= 32        n + 1 as they are       n + 1
33 to 127      n - 32 differences      2 bits each
128 to 255     n - 127 times the same  1
=============  ======================  ==================

=============  ======================  ==================
16 bit         voxels                  bytes that follow
=============  ======================  ==================
n <= 31        n + 1 as they are       2 (n + 1)
32 to 79       n - 31 differences      3 bits each
80 to 182      n - 79 differences      4 bits each
183 to 222     n - 182 differences     5 bits each
223 to 255     n - 222 times the same  2
=============  ======================  ==================
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.vaa3d.v3draw import CZYX, HEADER, read_header

MAGIC = b"v3d_volume_pkbitdf_encod"
_BEST = {1: 128 / 2, 2: 66 / 3}
"""Most bytes of voxels that a byte of the file can stand for."""


@dataclass(frozen=True, slots=True)
class PbdLayout:
    """What a compressed stack announces."""

    path: Path
    shape: CZYX
    dtype: np.dtype[Any]
    size: int
    """Bytes of the file."""

    @property
    def nbytes(self) -> int:
        """Bytes of the voxels of all channels."""
        return math.prod(self.shape) * self.dtype.itemsize


def v3dpbd_layout(path: Path) -> PbdLayout:
    """Read the header of a stack; nothing is decoded.

    Raises
    ------
    VolumeError
        If the header is damaged, announces more voxels than the file can hold, or a kind of
        voxels that the library cannot decode.
    """
    head = read_header(path, MAGIC)
    if head.kind not in _BEST:
        raise VolumeError(
            f"{path} is of v3dpbd kind {head.kind}, and only 1 (8 bit) and 2 (16 bit) are read: "
            "open it in Vaa3D and save it as .v3draw"
        )
    if head.order == ">" and head.kind == 2:
        raise VolumeError(
            f"{path} is a big-endian v3dpbd stack, which v3d-py-helper decodes wrongly: "
            "open it in Vaa3D and save it as .v3draw"
        )
    layout = PbdLayout(path, head.shape, np.dtype(f"u{head.kind}"), head.size)
    if layout.nbytes > _BEST[head.kind] * (head.size - HEADER):
        raise VolumeError(
            f"{path} announces (c, z, y, x) = {head.shape} and has {head.size} bytes, too few for "
            "that however well they compress: it is cut off or damaged. Copy it again"
        )
    return layout


def check_decoder() -> None:
    """Refuse to go on without the library that decodes.

    Raises
    ------
    VolumeError
        If ``v3dpy`` is not installed; there is none for Python 3.12 and later.
    """
    try:
        import v3dpy.loaders  # noqa: F401
    except ImportError:
        raise VolumeError(
            "v3dpbd needs v3dpy, which is not installed: pip install v3d-py-helper (Python 3.11), "
            "or open the file in Vaa3D and save it as .v3draw"
        ) from None


def load_v3dpbd(layout: PbdLayout) -> NDArray[Any]:
    """Decode a whole stack into memory.

    Returns
    -------
    ndarray of uint8 or uint16, shape (c, z, y, x)

    Raises
    ------
    VolumeError
        If the runs do not yield the announced voxels, or the library fails.
    """
    check_decoder()
    from v3dpy.loaders import PBD

    path = layout.path
    data = np.asarray(np.memmap(path, np.uint8, "r", offset=HEADER))
    voxels = int(_walk(data, layout.dtype.itemsize == 2))
    if voxels < 0:
        raise VolumeError(
            f"{path} is damaged or cut off: the run at byte {HEADER - 1 - voxels} is impossible. "
            "Copy it again"
        )
    if voxels != math.prod(layout.shape):
        raise VolumeError(
            f"{path} holds {voxels} voxels and announces {math.prod(layout.shape)}: it is damaged "
            "or cut off. Copy it again"
        )
    try:
        stack: NDArray[Any] = PBD().load(str(path))
    except Exception as error:  # assertions among others
        raise VolumeError(f"{path} cannot be decoded by v3d-py-helper: {error}") from error
    if stack.shape != layout.shape or stack.dtype.itemsize != layout.dtype.itemsize:
        raise VolumeError(f"{path} decodes to {stack.dtype} {stack.shape}, not {layout.shape}")
    return stack


@njit(cache=True, nogil=True)
def _walk(data: Any, wide: bool) -> int:
    """Count the voxels that all runs yield; -1 - k if the run at byte k is impossible."""
    at, voxels, end = 0, 0, len(data)
    while at < end:
        first = int(data[at])
        count, follow, relative = _wide_run(first) if wide else _narrow_run(first)
        # A difference needs a voxel before it.
        if at + 1 + follow > end or (relative and voxels == 0):
            return -1 - at
        at += 1 + follow
        voxels += count
    return voxels


@njit(cache=True, nogil=True)
def _narrow_run(first: int) -> tuple[int, int, bool]:
    if first < 33:
        return first + 1, first + 1, False
    if first < 128:
        return first - 32, (first - 33) // 4 + 1, True
    return first - 127, 1, False


@njit(cache=True, nogil=True)
def _wide_run(first: int) -> tuple[int, int, bool]:
    if first < 32:
        return first + 1, 2 * (first + 1), False
    if first < 80:
        return first - 31, ((first - 31) * 3 - 1) // 8 + 1, True
    if first < 183:
        return first - 79, ((first - 79) * 4 - 1) // 8 + 1, True
    if first < 223:
        return first - 182, ((first - 182) * 5 - 1) // 8 + 1, True
    return first - 222, 2, False
