"""What a converter wrote: whether it is the source, and what it lacks. Run as a child::

check.py OUTPUT FOLDER THREADS
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from brain import read_slices, reduced
from numpy.typing import NDArray

SLAB = 128
PROBE = 128
"""Side of the part whose reduction tells the method."""


@dataclass(frozen=True)
class Written:
    """An image on disk, as its own metadata describes it."""

    path: Path
    axes: tuple[str, ...]
    datasets: list[dict[str, Any]]
    version: str

    def array(self, level: int) -> Any:
        """Open a level."""
        return zarr.open_array(str(self.path / self.datasets[level]["path"]), mode="r")

    def read(self, level: int, start: int, stop: int) -> NDArray[Any]:
        """Read planes of a level, shape (z, y, x) whatever the stored axes."""
        box = tuple(
            slice(start, stop) if name == "z" else slice(None) if name in "yx" else 0
            for name in self.axes
        )
        order = [name for name in self.axes if name in "zyx"]
        block = np.asarray(self.array(level)[box])
        return block.transpose([order.index(name) for name in "zyx"])

    def shape(self, level: int) -> tuple[int, int, int]:
        """Shape (z, y, x) of a level."""
        sizes = dict(zip(self.axes, self.array(level).shape, strict=True))
        return sizes["z"], sizes["y"], sizes["x"]

    def offset(self, level: int) -> list[float]:
        """Translation (z, y, x) of a level; zeros if none is written."""
        for step in self.datasets[level].get("coordinateTransformations", []):
            if step["type"] == "translation":
                named = dict(zip(self.axes, step["translation"], strict=True))
                return [float(named[name]) for name in "zyx"]
        return [0.0, 0.0, 0.0]


def find_image(output: Path) -> Written:
    """Find the image in a folder: a multiscale group anywhere, or a lone array."""
    marks = sorted(
        [*output.rglob("zarr.json"), *output.rglob(".zattrs")], key=lambda p: len(p.parts)
    )
    for mark in marks:
        attributes = json.loads(mark.read_text())
        attributes = attributes.get("attributes", attributes)
        block = attributes.get("ome", attributes)
        if "multiscales" in block:
            scales = block["multiscales"][0]
            version = str(block.get("version", scales.get("version", "?")))
            axes = tuple(axis["name"] for axis in scales["axes"])
            return Written(mark.parent, axes, scales["datasets"], version)
    for mark in marks:
        if json.loads(mark.read_text()).get("node_type") == "array":
            return Written(mark.parent, ("z", "y", "x"), [{"path": "."}], "none")
    raise ValueError(f"{output} holds no Zarr image")


def same_voxels(image: Written, files: list[Path], threads: int) -> bool:
    """Whether level 0 is the source, voxel by voxel."""
    first = read_slices(files[:1], 1)
    if image.shape(0) != (len(files), *first.shape[1:]):
        return False
    return all(
        np.array_equal(
            image.read(0, z, min(z + SLAB, len(files))), read_slices(files[z : z + SLAB], threads)
        )
        for z in range(0, len(files), SLAB)
    )


def method(image: Written) -> str:
    """How level 1 was made of level 0: max, mean, stride or something else; "" without level 1."""
    if len(image.datasets) < 2:
        return ""
    steps = [b // a for a, b in zip(image.shape(1), image.shape(0), strict=True)]
    below = image.read(0, 0, PROBE)[:, :PROBE, :PROBE].astype(np.int64)
    below = below[tuple(slice(0, n - n % k) for n, k in zip(below.shape, steps, strict=True))]
    z, y, x = (n // k for n, k in zip(below.shape, steps, strict=True))
    found = image.read(1, 0, z)[:, :y, :x].astype(np.int64)
    blocks = below.reshape(z, steps[0], y, steps[1], x, steps[2])
    if np.array_equal(found, blocks.max(axis=(1, 3, 5))):
        return "max"
    if np.array_equal(found, below[tuple(slice(None, None, k) for k in steps)]):
        return "stride"
    if np.abs(found - blocks.mean(axis=(1, 3, 5))).max() <= 1:
        return "mean"
    return "other"


def pyramid_is_max(image: Written) -> bool:
    """Whether every level is the max of the level below, edges included."""
    below = image.read(0, 0, image.shape(0)[0])
    for level in range(1, len(image.datasets)):
        found = image.read(level, 0, image.shape(level)[0])
        steps = [-(-b // a) for a, b in zip(found.shape, below.shape, strict=True)]
        if not np.array_equal(found, reduced(below, steps)):
            return False
        below = found
    return True


def shift(image: Written) -> str:
    """Where level 1 is said to lie: "half voxel", "none" or "other"."""
    if len(image.datasets) < 2:
        return ""
    factors = [b / a for a, b in zip(image.shape(1), image.shape(0), strict=True)]
    moved = [b - a for a, b in zip(image.offset(0), image.offset(1), strict=True)]
    if not any(moved) and any(f > 1 for f in factors):
        return "none"
    right = np.allclose(moved, [(f - 1) / 2 for f in factors])
    return ("half voxel" if not any(image.offset(0)) else "half voxel more") if right else "other"


def storage(image: Written) -> dict[str, Any]:
    """Chunks, shards, codec and checksums of level 0, from its own metadata."""
    folder = image.path / image.datasets[0]["path"]
    if not (folder / "zarr.json").is_file():
        meta = json.loads((folder / ".zarray").read_text())
        codec = meta["compressor"] or {"id": "none"}
        return {"chunk": meta["chunks"], "shard": None, "codec": codec["id"], "checksum": False}
    meta = json.loads((folder / "zarr.json").read_text())
    chunk, shard = meta["chunk_grid"]["configuration"]["chunk_shape"], None
    codecs = meta["codecs"]
    for codec in codecs:
        if codec["name"] == "sharding_indexed":
            inner = codec["configuration"]
            chunk, shard, codecs = inner["chunk_shape"], chunk, inner["codecs"]
            break
    names = [_codec(codec) for codec in codecs if codec["name"] not in ("bytes", "transpose")]
    checked = "crc32c" in names
    return {
        "chunk": chunk,
        "shard": shard,
        "codec": " + ".join(name for name in names if name != "crc32c"),
        "checksum": checked,
    }


def _codec(codec: dict[str, Any]) -> str:
    settings = codec.get("configuration", {})
    if codec["name"] != "blosc":
        return " ".join([codec["name"], *[str(settings[k]) for k in ("level",) if k in settings]])
    return f"blosc-{settings['cname']} {settings['clevel']} {settings['shuffle']}"


def describe(output: Path, folder: Path, threads: int) -> dict[str, Any]:
    """Return all of this as JSON values."""
    image = find_image(output)
    how = method(image)
    found = {
        "equal": same_voxels(image, sorted(folder.glob("*.tif")), threads),
        "shapes": [list(image.shape(level)) for level in range(len(image.datasets))],
        "axes": "".join(image.axes),
        "ome_version": image.version,
        "method": how,
        "shift": shift(image),
        **storage(image),
    }
    if how == "max":
        found["max_at_every_level"] = pyramid_is_max(image)
    return found


if __name__ == "__main__":
    print(json.dumps(describe(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
