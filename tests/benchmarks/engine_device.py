"""How well an engine keeps a device busy: one script for whoever has a GPU.

``python tests/benchmarks/engine_device.py`` measures, at tiles of 320 voxels and a U-Net of 4
poolings and 32 channels,

* eager: ``network(x)`` in float32, as anyone would run it, the tile on the device already;
* bare: the engine's own computation in a loop, the tile on the device already;
* engine: ``Engine.predict_codes`` from as many threads as slots, tiles and maps in main memory.

It prints a JSON object: seconds a tile, voxels a second, the share of the time in which the device
computed, how many times faster the engine is than eager, and how close it comes to the bare loop.
The targets are 0.90 for the last two of these and 3 for the ratio.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from neuroconn.inference.encoding import Encoding
from neuroconn.inference.engine.torch_engine import Engine, sample_tile
from neuroconn.network import Constants, Model, ModelCard, Normalisation, UNet

CONSTANTS = Constants("asinh", offset=300, divisor=100)
ENCODING = Encoding("uint8", 10.0)


def model(levels: int, width: int) -> Model:
    """An untrained network: speed does not depend on weights."""
    torch.manual_seed(0)
    card = ModelCard(name="bench", clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))
    return Model(UNet(levels=levels, width=width).eval().requires_grad_(False), card)


def measure(
    *, device: str, side: int, levels: int, width: int, tiles: int, slots: int, kind: str = "torch"
) -> dict[str, Any]:
    """Time the three loops; see the top of this file."""
    made, shape = model(levels, width), (side, side, side)
    raw = (sample_tile(shape) * 100 + 300).clip(0, 65535).astype(np.uint16)
    eager = _eager(made, shape, device, max(2, tiles // 4))
    engine = Engine(made, device=device, tile=shape, kind=kind, slots=slots)
    bare = _bare(engine, tiles)
    whole, busy = _through(engine, raw, tiles, slots)
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": torch.__version__,
        "engine": engine.kind,
        "precision": engine.precision,
        "tile": side,
        "eager_seconds": eager,
        "bare_seconds": bare,
        "engine_seconds": whole,
        "voxels_per_second": side**3 / whole,
        "busy": busy,
        "of_bare": bare / whole,
        "against_eager": eager / whole,
        "half_error": engine.half_error,
        "memory_predicted_gib": engine.memory / 2**30,
        "memory_peak_gib": torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None,
    }


def _eager(made: Model, shape: tuple[int, int, int], device: str, tiles: int) -> float:
    network = made.network.to(device)
    x = torch.from_numpy(sample_tile(shape))[None, None].to(device)

    @torch.inference_mode()
    def run() -> None:
        network(x)

    seconds = _per_call(run, tiles, device)
    made.network.to("cpu")
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return seconds


def _bare(engine: Engine, tiles: int) -> float:
    """The engine's work on a tile that lies on the device, as its own loop does it."""
    there = torch.from_numpy(sample_tile(engine.tile)).to(engine.device)
    work = engine.work(None, ENCODING)
    return _per_call(lambda: work(there), tiles, engine.device)


def _through(engine: Engine, raw: Any, tiles: int, slots: int) -> tuple[float, float]:
    """Seconds a tile and busy share, with tiles and maps in main memory."""

    def one(_: int) -> float:
        return engine.predict_codes(raw, CONSTANTS, ENCODING).seconds

    with ThreadPoolExecutor(slots) as pool:
        list(pool.map(one, range(slots)))  # warm, every buffer made
        start = time.perf_counter()
        busy = sum(pool.map(one, range(tiles)))
        wall = time.perf_counter() - start
    return wall / tiles, busy / wall


def _per_call(run: Callable[[], object], calls: int, device: str) -> float:
    run()
    run()
    _wait(device)
    start = time.perf_counter()
    for _ in range(calls):
        run()
    _wait(device)
    return (time.perf_counter() - start) / calls


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--tiles", type=int, default=24)
    parser.add_argument("--slots", type=int, default=3)
    parser.add_argument("--kind", default="torch", choices=["torch", "openvino"])
    print(json.dumps(measure(**vars(parser.parse_args())), indent=1))


if __name__ == "__main__":
    main()
