"""Vaa3D's own stacks: v3draw, plain, and v3dpbd, compressed."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import BinaryIO

from neuroconn.errors import VolumeError
from neuroconn.vaa3d.v3draw import HEADER, v3draw_layout
from neuroconn.volume.sources.arrays.memory_maps import ArraySource, InPlace
from neuroconn.volume.sources.arrays.staging import Staged
from neuroconn.volume.sources.base import Choice, chosen_channel, file_identity


class V3drawSource(ArraySource):
    """One channel of a v3draw stack, read in place."""

    format = "v3draw"


class V3dpbdSource(ArraySource):
    """One channel of a v3dpbd stack; unpacked into a temporary file by the first read."""

    format = "v3dpbd"


def open_v3draw_source(path: Path, choice: Choice) -> V3drawSource:
    """Open a v3draw stack; the format knows neither voxel size nor origin.

    Raises
    ------
    VolumeError
        If the header is damaged or does not fit the file, or there are several channels.
    """
    shape, dtype = v3draw_layout(path)
    channel = chosen_channel(shape[0], choice, str(path))
    offset = HEADER + channel * math.prod(shape[1:]) * dtype.itemsize
    return V3drawSource(
        InPlace(path, dtype, offset, shape[1:]),
        description=f"v3draw stack of {shape[0]} channel(s)",
        identity=file_identity(path.name, [path], [shape, dtype.str, channel]),
        channels=shape[0],
    )


def open_v3dpbd_source(path: Path, choice: Choice) -> V3dpbdSource:
    """Open a v3dpbd stack; it is decoded, as a whole, by the first read.

    Raises
    ------
    VolumeError
        If the header is damaged or does not fit the file, there are several channels, the decoder
        is not installed, or memory is too small for it.
    StorageError
        If the temporary folder is too small.
    """
    from neuroconn.vaa3d.v3dpbd import check_decoder, v3dpbd_layout  # numba is slow to import

    layout = v3dpbd_layout(path)
    channel = chosen_channel(layout.shape[0], choice, str(path))
    check_decoder()
    _check_memory(path, layout.size + layout.nbytes)
    nbytes = layout.nbytes // layout.shape[0]
    staged = Staged(
        layout.shape[1:], layout.dtype, partial(_decode, path, channel), nbytes, str(path)
    )
    return V3dpbdSource(
        staged,
        description=f"v3dpbd stack of {layout.shape[0]} channel(s)",
        identity=file_identity(path.name, [path], [layout.shape, layout.dtype.str, channel]),
        channels=layout.shape[0],
        notes=(
            f"v3dpbd is decoded as a whole: once {layout.nbytes / 1e9:.1f} GB of memory, and "
            f"{nbytes / 1e9:.1f} GB of temporary space",
        ),
    )


def _decode(path: Path, channel: int, sink: BinaryIO) -> None:
    from neuroconn.vaa3d.v3dpbd import load_v3dpbd, v3dpbd_layout

    for plane in load_v3dpbd(v3dpbd_layout(path))[channel]:
        sink.write(plane.data)


def _check_memory(path: Path, needed: int) -> None:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory:
        raise VolumeError(
            f"{path} takes {needed / 1e9:.1f} GB of memory to decode and this machine has "
            f"{memory / 1e9:.1f} GB: open it in Vaa3D and save it as .v3draw"
        )
