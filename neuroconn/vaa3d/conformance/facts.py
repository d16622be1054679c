"""What a tile says about itself, in the words that lay out a level by its names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neuroconn.errors import VolumeError
from neuroconn.vaa3d.conformance.tiff import TiffFault, read_tiff
from neuroconn.vaa3d.conformance.tile import STACK_SUFFIXES
from neuroconn.vaa3d.named import TileFacts
from neuroconn.vaa3d.v3draw import v3draw_layout


def plain_facts(path: Path) -> TileFacts:
    """Read shape and type of a tile.

    Raises
    ------
    VolumeError
        If it cannot be read, or is not one grey channel of 8 or 16 bits.
    """
    if path.suffix.lower() in STACK_SUFFIXES:
        (channels, z, y, x), dtype = v3draw_layout(path)
        if channels == 1 and dtype.itemsize <= 2:
            return TileFacts((z, y, x), np.dtype(f"u{dtype.itemsize}"))
        raise VolumeError(f"{path} has {channels} channels of {dtype}")
    try:
        facts = read_tiff(path)
    except (OSError, TiffFault) as error:
        raise VolumeError(f"{path} cannot be read: {error}") from None
    if facts.fault is not None or not facts.pages:
        raise VolumeError(f"{path} is damaged: {facts.fault or 'it holds no page'}")
    first = facts.pages[0].layout
    if first.samples != 1 or first.bits not in (8, 16) or not first.height or not first.width:
        raise VolumeError(f"{path} has {first.samples} samples of {first.bits} bits")
    shape = len(facts.pages), first.height, first.width
    return TileFacts(shape, np.dtype(f"u{first.bits // 8}"), first.sample_format == 2)
