"""Peak memory of a conversion of a very wide volume, against what was predicted.

The source is made up as it is read, so that neither disk nor decoder is measured. One shard in
eight holds noise; the others are empty, which costs the same memory and less time.

    python tests/benchmarks/convert/wide.py --shape 64 40000 40000
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ZYX, Box
from neuroconn.volume import converter
from neuroconn.volume.sources import Identity, Source

NOISE = np.random.default_rng(0).integers(200, 700, (64, 256, 256)).astype(np.uint16)


class WideSource(Source):
    """A virtual stack of uncompressed planes."""

    format = "virtual"

    def __init__(self, shape: ZYX) -> None:
        self.shape, self.dtype = shape, np.dtype(np.uint16)
        self.unit = (1, 1, 1024)
        self.description = "virtual planes"
        self.identity = Identity("virtual", 1, 0, "", "")
        self.spacing_um = (1.0, 1.0, 1.0)

    def read(self, box: Box) -> NDArray[Any]:
        """Make up the voxels of a box."""
        voxels = np.zeros(box.shape, np.uint16)
        for y in range(box.start[1] // 256, -(-box.stop[1] // 256)):
            for x in range(box.start[2] // 256, -(-box.stop[2] // 256)):
                if (x + y) % 8 == 0:
                    self._noise(voxels, box, y * 256, x * 256)
        return voxels

    def _noise(self, voxels: NDArray[Any], box: Box, y: int, x: int) -> None:
        tile = Box((box.start[0], y, x), (box.stop[0], y + 256, x + 256)).clip(box)
        _, height, width = tile.shape
        z = np.arange(tile.start[0], tile.stop[0]) % len(NOISE)
        cut = NOISE[:, tile.start[1] - y :, tile.start[2] - x :]
        voxels[tile.within(box)] = cut[z, :height, :width]


def main() -> None:
    """Convert and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(64, 40_000, 40_000))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    z, y, x = options.shape
    converter.open_source = lambda *_, **__: WideSource((z, y, x))  # type: ignore[assignment]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        began = time.monotonic()
        report = converter.convert("wide", Path(folder) / "brain", threads=options.threads)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) * 1024
    print(
        json.dumps(
            {
                "shape": report.shape,
                "levels": len(report.levels),
                "bands": report.bands,
                "predicted_bytes": report.peak_bytes,
                "peak_bytes": peak,
                "seconds": round(time.monotonic() - began, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
