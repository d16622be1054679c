"""One volume through MONAI's ``sliding_window_inference`` and through a run of neuroconn.

``python tests/benchmarks/infer/peer.py WAY FOLDER`` predicts the brain of a folder in one way, in a
process of its own, and prints a JSON object; the distances are left in ``FOLDER/WAY.npy``.

Same weights, same threads, same voxels. MONAI gets the volume in memory, normalised, and one window
to warm up with. neuroconn reads it from a Zarr store, normalises it, looks for neurites and writes
a map; the time is that of its walk.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
PEERS = ("monai-float32", "monai-bfloat16", "monai-bfloat16-last")
OURS = (
    "neuroconn-bfloat16-torch-128",
    "neuroconn-bfloat16-openvino-128",
    "neuroconn-float32-torch-128",
    "neuroconn-float32-openvino-128",
    "neuroconn-bfloat16-torch-256",
)
"""Arithmetic, engine, and chunk: at 128 both sides compute as many voxels."""
ROI, OVERLAP = 128, 0.25
CLIP = 10.0
CORES = len(os.sched_getaffinity(0))


def install() -> Path:
    """Install MONAI into a folder, once; it runs beside our own torch."""
    folder = Path(tempfile.gettempdir()) / "neuroconn-benchmark-peers"
    if not (folder / "monai").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        wanted = ["--target", str(folder), "-r", str(HERE / "requirements.txt")]
        subprocess.run([*pip, *wanted], check=True)
    return folder


def run(way: str, folder: Path, model: str) -> dict[str, Any]:
    """Predict in a fresh process, so that memory and its settings are of that way alone."""
    command = [sys.executable, __file__, way, str(folder), "--model", model]
    path = str(install()) if way.startswith("monai") else ""
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def load(folder: Path, model: str) -> tuple[Any, Any, NDArray[np.float32]]:
    """Return torch, the network, and the normalised volume as a (1, 1, z, y, x) tensor."""
    import torch

    from neuroconn import load_model, open_image
    from neuroconn.inference.prepare import constants_of

    torch.set_num_threads(CORES)
    loaded = load_model(model)
    image = open_image(folder / "brain.ome.zarr")
    raw = np.asarray(image.array(0)[:])
    volume = constants_of(image, loaded.card).apply(raw).astype(np.float32)
    return torch, loaded.network.eval(), torch.from_numpy(volume)[None, None]


def whole(folder: Path, model: str) -> tuple[float, NDArray[np.float32]]:
    """Return the float32 network on the whole volume at once: what the others should answer."""
    torch, network, x = load(folder, model)
    start = time.perf_counter()
    with torch.inference_mode():
        out = network(x)
    return time.perf_counter() - start, out[0, 0].numpy()


def monai(way: str, folder: Path, model: str) -> tuple[float, NDArray[np.float32]]:
    """Return the volume as MONAI's users predict it: Gaussian windows that overlap by a quarter."""
    from monai.inferers import sliding_window_inference

    torch, network, x = load(folder, model)
    if way.endswith("last"):
        network = network.to(memory_format=torch.channels_last_3d)
        x = x.to(memory_format=torch.channels_last_3d)
    half = torch.autocast("cpu", torch.bfloat16) if "bfloat16" in way else nullcontext()
    with torch.inference_mode(), half:
        network(x[:, :, :ROI, :ROI, :ROI])
        start = time.perf_counter()
        out = sliding_window_inference(x, (ROI,) * 3, 1, network, OVERLAP, mode="gaussian")
        seconds = time.perf_counter() - start
    return seconds, out[0, 0].float().numpy()


def neuroconn(way: str, folder: Path, model: str) -> tuple[float, NDArray[np.float32]]:
    """Return the map of a run over every chunk, stored as float32."""
    from neuroconn import infer, open_image
    from neuroconn.config.infer import InferSettings

    _, precision, engine, chunk = way.split("-")
    settings = InferSettings(chunk=int(chunk), dtype="float32", precision=precision, engine=engine)
    report = infer(
        folder / "brain.ome.zarr",
        folder / f"{way}.ome.zarr",
        seed_source="all",
        model=model,
        settings=settings,
        scheduler="threads",
    )
    stored = open_image(folder / f"{way}.ome.zarr").array(0)
    return report.seconds, np.asarray(stored[:])


def errors(found: NDArray[np.float32], exact: NDArray[np.float32], margin: int) -> dict[str, float]:
    """Compare voxels that do not see the border, where every way has its own idea of outside.

    Distances are compared up to where they are cut off, which is how maps are stored.
    """
    inside = (slice(margin, -margin),) * 3
    a, b = (np.minimum(volume[inside], CLIP) for volume in (found, exact))
    difference, flips = np.abs(a - b), (a < 3) != (b < 3)
    return {
        "max": float(difference.max()),
        "mean": float(difference.mean()),
        "flips": float(flips.mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=("whole", *PEERS, *OURS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    way, folder, model = options.way, options.folder, options.model
    if way == "whole":
        seconds, out = whole(folder, model)
    elif way in PEERS:
        seconds, out = monai(way, folder, model)
    else:
        seconds, out = neuroconn(way, folder, model)
    np.save(folder / f"{way}.npy", out)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak}))


if __name__ == "__main__":
    main()
