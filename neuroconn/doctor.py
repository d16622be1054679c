"""What this machine and this model can do, and what is known to go wrong with them."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuroconn._version import __version__
from neuroconn.config.infer import InferSettings
from neuroconn.errors import HaloError, NeuroconnError, UsageError
from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference.engine.device import choose, has_bfloat16
from neuroconn.inference.engine.memory import predict_memory, room
from neuroconn.inference.engine.reach import LARGEST, Radius, effective_radii, tile_side
from neuroconn.inference.engine.seam import Seam, seam_errors
from neuroconn.inference.engine.torch_engine import Engine, sample_tile
from neuroconn.inference.predictors import check_model
from neuroconn.inference.prepare import constants_of
from neuroconn.inference.seeds.bright import bright_chunks
from neuroconn.network.blackbox import BlackBox
from neuroconn.network.receptive import ReceptiveField, receptive_field
from neuroconn.network.weights import Model, load_model
from neuroconn.volume.memory import available_memory
from neuroconn.volume.regions import read_region
from neuroconn.volume.store import open_image

_PACKAGES = ("torch", "zarr", "dask", "distributed", "numpy", "xarray")
_SLOW_CONVOLUTIONS = ("2.9.0", "2.9.1")
_WRONG_CUDNN = 91002


@dataclass(frozen=True, slots=True)
class Machine:
    """Processor, memory and GPUs."""

    platform: str
    cpus: int
    """Cores this process may use."""
    threads: int
    """Threads torch uses."""
    instructions: str
    """Widest vector instructions torch uses."""
    bfloat16: bool
    """Whether the processor multiplies bfloat16 in hardware."""
    memory_gib: float | None
    """Memory this process may still take."""
    gpus: list[str]
    """Name and memory of each."""


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """What a model is and sees."""

    name: str
    sha256: str
    architecture: dict[str, Any]
    parameters: int
    clip: float
    spacing_um: tuple[float, float, float]
    halo_needed: int | None
    """Voxels around an aligned core that matter; None if that is the whole tile, or not known."""
    halo_exact: int | None
    stride: int
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast the model runs on tiles of the default settings."""

    engine: str
    device: str
    precision: str
    tile: ZYX
    trim: ZYX
    halo_is_exact: bool
    seconds_per_chunk: float
    chunks_per_second: float
    memory_gib: float
    """What one prediction takes at its peak, as the engine's memory model has it."""
    available_gib: float | None
    """What the device has free for it."""
    half_error: float
    """Largest difference to float32 on one tile, in voxels."""


@dataclass
class Diagnosis:
    """Everything ``neuroconn doctor`` found."""

    versions: dict[str, str]
    machine: Machine
    model: ModelSummary | None = None
    speed: Speed | None = None
    radii: list[Radius] = field(default_factory=list)
    """How far the model looks in practice, if asked."""
    seams: list[Seam] = field(default_factory=list)
    halo: int = 0
    """Halo of the settings, whose seam is the one that matters."""
    warnings: list[str] = field(default_factory=list)
    """What works, but worse than it could."""
    problems: list[str] = field(default_factory=list)
    """What does not work."""
    exit_code: int = 0
    """0 if nothing is broken, else that of the first problem."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def doctor(
    model: str | Path = "default",
    *,
    brain: str | Path | None = None,
    settings: InferSettings | None = None,
    halos: Sequence[int] = (16, 32, 48),
    threads: int | None = None,
    rf: bool = False,
) -> Diagnosis:
    """Examine this machine, a model, and how well tiles of a brain fit together.

    Parameters
    ----------
    model : path, optional
        As for :func:`neuroconn.network.load_model`.
    brain : path, optional
        OME-Zarr brain to measure the seam error on.
    settings : InferSettings, optional
        Chunk, halo, device and precision to try; those of the defaults if not given.
    halos : sequence of int, optional
        Halos whose seam error is measured, beside that of the settings.
    threads : int, optional
        Threads of torch; by default as they are.
    rf : bool, optional
        Whether to measure how far the weights look in practice; on the brain if there is one.

    Returns
    -------
    Diagnosis
        A failure of one part is listed among its problems, and the rest is still examined.
    """
    settings = settings or InferSettings()
    if threads is not None:
        torch.set_num_threads(threads)
    found = Diagnosis(versions(), machine(), halo=settings.halo)
    cudnn: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    found.warnings += known_trouble(found.versions["torch"], cudnn)
    found.warnings += _thrift(found.machine)
    try:
        loaded = load_model(model)
        found.model = summarise(loaded, look=rf or brain is not None or settings.exact)
        check_model(str(model), (settings.chunk,) * 3, settings)
        found.speed = measure(loaded, settings)
        if rf:
            found.radii = effective_radii(loaded, _place(loaded, brain, settings))
        if brain is not None:
            found.seams = _seams(loaded, brain, settings, (*halos, settings.halo))
    except NeuroconnError as error:
        found.problems.append(str(error))
        found.exit_code = error.exit_code
    return found


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of those results depend on."""
    found = {"python": platform.python_version(), "neuroconn": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def machine() -> Machine:
    """Look at the processor, its memory and the GPUs torch sees."""
    memory = available_memory()
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cards = (torch.cuda.get_device_properties(i) for i in range(count))
    return Machine(
        platform=platform.platform(),
        cpus=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        bfloat16=has_bfloat16(),
        memory_gib=None if memory is None else memory / 2**30,
        gpus=[f"{card.name}, {card.total_memory / 2**30:.0f} GiB" for card in cards],
    )


def known_trouble(torch_version: str, cudnn: int | None) -> list[str]:
    """Warn of releases that are known to compute slowly or wrongly.

    Examples
    --------
    >>> known_trouble("2.8.0", None)
    []
    >>> len(known_trouble("2.9.1+cu128", 91002))
    2
    """
    warnings = []
    if torch_version.split("+")[0] in _SLOW_CONVOLUTIONS:
        warnings.append(
            f"torch {torch_version} runs 3D convolutions in half precision four times slower and "
            "in three times the memory (pytorch#166122, #166643): install another release"
        )
    if cudnn == _WRONG_CUDNN:
        warnings.append(
            "cuDNN 9.10.2 computes large bfloat16 convolutions wrongly (pytorch#163539): install "
            "another torch, or set precision: float16"
        )
    return warnings


def summarise(model: Model, *, look: bool = True) -> ModelSummary:
    """Return what the card and the architecture of a model say.

    Parameters
    ----------
    model : Model
        As loaded.
    look : bool, optional
        Whether to measure what a model made elsewhere sees, which takes seconds.
    """
    card, sees = model.card, _sees(model, look=look)
    return ModelSummary(
        name=card.name,
        sha256=model.sha256,
        architecture=card.architecture,
        parameters=sum(p.numel() for p in model.network.parameters()),
        clip=card.clip,
        spacing_um=card.spacing_um,
        halo_needed=sees.halo_needed if sees else None,
        halo_exact=sees.halo if sees else None,
        stride=model.network.stride,
        scores=card.scores,
    )


def measure(model: Model, settings: InferSettings) -> Speed:
    """Run one tile of the settings after a warm-up, and check half precision against float32."""
    side = settings.chunk + 2 * settings.halo
    network, trim = model.network, settings.evidence.reliable
    kind = "torch" if settings.engine == "auto" else settings.engine
    device, precision = choose(settings.device, settings.precision, kind, network.castable)
    here = room()
    free = here.gpu if device == "cuda" else here.available
    needed = predict_memory(network, (side, side, side), precision, (trim,) * 3)
    if free is not None and needed > free:
        raise UsageError(
            f"a tile of {side} needs {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} are free: "
            "set a smaller chunk"
        )
    engine = Engine(
        model, device=device, precision=precision, tile=(side, side, side), trim=trim, kind=kind
    )
    tile = sample_tile(engine.tile)
    engine.predict(tile)
    start = time.perf_counter()
    engine.predict(tile)
    seconds = time.perf_counter() - start
    sees = _sees(model, look=False)
    return Speed(
        engine=kind,
        device=device,
        precision=precision,
        tile=engine.tile,
        trim=engine.trim,
        halo_is_exact=sees is not None and settings.halo >= sees.halo_needed,
        seconds_per_chunk=seconds,
        chunks_per_second=1 / seconds,
        memory_gib=engine.memory / 2**30,
        available_gib=None if free is None else free / 2**30,
        half_error=engine.half_error or 0.0,
    )


def _sees(model: Model, *, look: bool) -> ReceptiveField | None:
    """Receptive field, None if it is unbounded, or would have to be measured and was not."""
    network = model.network
    if isinstance(network, BlackBox) and not look and not network.halo_known:
        return None
    try:
        return receptive_field(network)
    except HaloError:
        return None


def _place(model: Model, brain: str | Path | None, settings: InferSettings) -> NDArray[np.float32]:
    """Return a normalised tile: the brightest place of the brain, or lines in noise."""
    sees = _sees(model, look=True)
    if sees is None and isinstance(model.network, BlackBox):
        raise HaloError("the model's output depends on the whole tile: it has no radius to measure")
    # Without a bound as large as memory allows: what is farther away than that is not looked at.
    side = tile_side(sees.halo if sees else LARGEST, model.network.stride)
    if brain is None:
        return sample_tile((side, side, side))
    image = open_image(brain)
    grid = ChunkGrid(image.levels[settings.level].shape, (side, side, side))
    (index,) = bright_chunks(image, grid, settings.level, limit=1)
    raw = read_region(image.array(settings.level), grid.tile(index, 0), pad=settings.padding)
    tile: NDArray[np.float32] = constants_of(image, model.card).apply(raw)
    return tile


def _seams(
    model: Model, brain: str | Path, settings: InferSettings, halos: Sequence[int]
) -> list[Seam]:
    image = open_image(brain)
    return seam_errors(
        image,
        model,
        constants_of(image, model.card),
        halos,
        level=settings.level,
        device=settings.device,
        padding=settings.padding,
    )


def _thrift(here: Machine) -> list[str]:
    """Warn of hardware that is there and not used."""
    warnings = []
    if not here.gpus and shutil.which("nvidia-smi"):
        warnings.append(
            f"this machine has an NVIDIA driver, but torch {torch.__version__} sees no GPU: "
            "install torch for CUDA"
        )
    if not here.gpus and here.threads < here.cpus:
        warnings.append(
            f"torch uses {here.threads} of {here.cpus} cores: unset OMP_NUM_THREADS, or pass "
            "--threads"
        )
    if here.threads > here.cpus:
        warnings.append(
            f"torch uses {here.threads} threads on {here.cpus} cores, which is much slower than "
            f"{here.cpus}: pass --threads {here.cpus}"
        )
    return warnings
