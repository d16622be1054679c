"""Building the network of a plan on a worker, and checking that the worker fits the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

from neuroconn._version import __version__
from neuroconn.config.infer import InferSettings
from neuroconn.errors import ClusterError, HaloError, ModelError, UsageError
from neuroconn.geometry import ZYX
from neuroconn.inference.identity import digest
from neuroconn.inference.plan import Plan
from neuroconn.inference.task import Context, Predictor, open_context

if TYPE_CHECKING:
    from neuroconn.inference.engine.memory import Room
    from neuroconn.network import Network, ReceptiveField
    from neuroconn.network.blackbox import BlackBox

PredictorFactory: TypeAlias = Callable[[Plan, int, bool], Predictor]
"""``factory(plan, threads, exact)``: a network ready to run; ``exact`` asks for float32."""

_PINNED = ("numpy", "torch", "zarr")
_FOREIGN = ("torchscript", "onnx")

logger = logging.getLogger(__name__)


def engine_predictor(plan: Plan, threads: int, exact: bool) -> Predictor:
    """Load the model of a plan into an engine; the factory of every real run.

    Raises
    ------
    ModelError
        If the weights here are not those the run started with.
    UsageError
        If the engine is not installed here, or its self-check fails.
    """
    # Imported here: the client of a cluster needs no torch, and `status` starts faster.
    from neuroconn.inference.engine.torch_engine import Engine
    from neuroconn.network import load_model

    model = load_model(plan.model)
    if model.sha256 != plan.model_sha256:
        raise ModelError(
            f"model {plan.model} has SHA-256 {model.sha256[:12]} here, but the run started with "
            f"{plan.model_sha256[:12]}: its chunks would not fit the others. Copy the same model."
        )
    if plan.network and digest(model.card.architecture) != plan.network:
        raise ModelError(
            f"the card of model {plan.model} says something else of its architecture here than "
            "where the run started: copy the same model, card and all"
        )
    engine = Engine(
        model,
        device=plan.device,
        precision="float32" if exact else plan.precision,
        tile=plan.tile,
        trim=plan.trim,
        threads=threads,
        kind=plan.engine,
        # For the few chunks that are repeated in float32: slower if memory is short, never refused.
        check=not exact,
    )
    logger.info(
        "%s on %s (%s): %.2f GiB a tile, within %.2g voxels of float32",
        engine.precision,
        engine.device,
        engine.kind,
        engine.memory / 2**30,
        engine.half_error or 0.0,
    )
    return engine


def engine_picker(
    kind: str, architecture: Mapping[str, Any]
) -> Callable[[str, str], tuple[str, str]]:
    """Return a function that says what ``auto`` means on a worker, as (device, precision).

    It also refuses workers without the packages that the engine or the model needs.

    Parameters
    ----------
    kind : {"torch", "openvino"}
        What computes.
    architecture : mapping
        As in the card of the model.
    """
    return partial(pick_engine, kind=kind, architecture=str(architecture.get("name", "")))


def pick_engine(
    device: str, precision: str, kind: str = "torch", architecture: str = ""
) -> tuple[str, str]:
    """Return what ``auto`` means in this process; see :func:`engine_picker`.

    Raises
    ------
    UsageError
        If a package is missing here, or the device.
    """
    for package, extra in _needed(kind, architecture).items():
        if find_spec(package) is None:
            raise UsageError(
                f"{package} is not installed here: pip install 'neuroconn[{extra}]' on every worker"
            )
    from neuroconn.inference.engine.device import choose

    return choose(device, precision, kind, castable=architecture not in _FOREIGN)


def packages_of(kind: str, architecture: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the packages whose version decides the answer, beside those of every run."""
    return tuple(_needed(kind, str(architecture.get("name", ""))))


def room() -> Room:
    """Return the memory this process sees; asked of every worker."""
    from neuroconn.inference.engine import memory as engine_memory

    return engine_memory.room()


def check_room(plan: Plan, rooms: Sequence[Room]) -> None:
    """Refuse tiles that the workers have no memory for, before the first chunk.

    Parameters
    ----------
    plan : Plan
        The run, its device and precision resolved.
    rooms : sequence of Room
        The answers of the workers to :func:`room`.

    Raises
    ------
    UsageError
        With the numbers, and the largest chunk that would fit.
    """
    from neuroconn.inference.engine.memory import check_memory
    from neuroconn.network import load_model

    check_memory(
        load_model(plan.model).network,
        plan.grid.chunk,
        plan.halo,
        plan.trim,
        device=plan.device,
        precision=plan.precision,
        rooms=rooms,
    )


def check_model(model: str, chunk: ZYX, settings: InferSettings) -> None:
    """Load a model once before anything starts, and check that the tiling suits it.

    Raises
    ------
    ModelError
        If it is missing, damaged or not finite.
    HaloError
        If chunk or halo would break predictions at chunk borders, if the network normalises over
        its tile, or if exact mode is asked of one that pools all of it.
    UsageError
        If the engine of the settings has no graph for it.
    """
    from neuroconn.network import check_tiling, load_model
    from neuroconn.network.blackbox import BlackBox
    from neuroconn.network.receptive import check_exact, check_statistics

    network = load_model(model).network
    if settings.engine == "openvino":
        from neuroconn.inference.engine.openvino_engine import check_network

        check_network(network)
    if isinstance(network, BlackBox):
        _check_foreign(network, chunk, settings)
        return
    (check_exact if settings.exact else check_statistics)(network)
    check_tiling(_sees(network, settings), chunk, settings.halo, exact=settings.exact)


def _check_foreign(network: BlackBox, chunk: ZYX, settings: InferSettings) -> None:
    """Check what is known of a network whose layers are not; exact mode measures its reach."""
    from neuroconn.network import check_tiling

    halo, margin = settings.halo, network.about.margin
    if halo < margin:
        raise HaloError(
            f"halo of {halo} voxels is narrower than the {margin} that the model gets wrong at the "
            f"faces of a tile, as its makers say: set halo: {margin} or more"
        )
    z, y, x = (c + 2 * halo for c in chunk)
    network.check_tile((z, y, x))
    check_tiling(_sees(network, settings), chunk, halo, exact=settings.exact)


def _sees(network: Network, settings: InferSettings) -> ReceptiveField:
    """Return what exact mode goes by; else the pooling grid alone, since there may be no bound."""
    from neuroconn.network import ReceptiveField, receptive_field

    if settings.exact:
        return receptive_field(network)
    return ReceptiveField(halo_needed=0, halo=0, stride=network.stride, width=0)


def versions(*more: str) -> tuple[tuple[str, str], ...]:
    """Return the packages that client and workers must share, without importing them.

    Parameters
    ----------
    *more : str
        Packages that this run needs beside the usual ones.
    """
    names = dict.fromkeys((*_PINNED, *more))
    return (("neuroconn", __version__), *((name, _version(name)) for name in names))


def open_worker_context(
    plan: Plan, factory: PredictorFactory, threads: int, worker: str = ""
) -> Context:
    """Load the network and open the arrays of a plan.

    Raises
    ------
    ClusterError
        If this process has other packages than the client: the same chunk could differ.
    ModelError
        If the weights are not those of the plan.
    """
    here = dict(versions(*(name for name, _ in plan.versions if name != "neuroconn")))
    differing = [f"{n} {here[n]} (client: {v})" for n, v in plan.versions if here.get(n) != v]
    if differing:
        raise ClusterError(
            f"worker {worker} has {', '.join(differing)}: its chunks could differ from those of "
            "others. Install the same packages everywhere."
        )
    exact = cache(lambda: factory(plan, threads, True))
    return open_context(plan, factory(plan, threads, False), exact, worker)


def _needed(kind: str, architecture: str) -> dict[str, str]:
    """Return the packages needed beside torch, and the extras they come with."""
    needed = {"openvino": "openvino"} if kind == "openvino" else {}
    return needed | ({"onnxruntime": "onnx"} if architecture == "onnx" else {})


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
