"""Building the network of a plan on a worker, and checking that the worker fits the run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TypeAlias

from neuroconn._version import __version__
from neuroconn.config.infer import InferSettings
from neuroconn.errors import ClusterError, ModelError
from neuroconn.geometry import ZYX
from neuroconn.inference.plan import Plan
from neuroconn.inference.task import Context, Predictor, open_context

PredictorFactory: TypeAlias = Callable[[Plan, int, bool], Predictor]
"""``factory(plan, threads, exact)``: a network ready to run; ``exact`` asks for float32."""

_PINNED = ("numpy", "torch", "zarr")


def engine_predictor(plan: Plan, threads: int, exact: bool) -> Predictor:
    """Load the model of a plan into an engine; the factory of every real run.

    Raises
    ------
    ModelError
        If the weights here are not those the run started with.
    """
    # Imported here: the client of a cluster needs no torch, and `status` starts faster.
    from neuroconn.inference.engine import Engine
    from neuroconn.network import load_model

    model = load_model(plan.model)
    if model.sha256 != plan.model_sha256:
        raise ModelError(
            f"model {plan.model} has SHA-256 {model.sha256[:12]} here, but the run started with "
            f"{plan.model_sha256[:12]}: its chunks would not fit the others. Copy the same model."
        )
    precision = "float32" if exact else plan.precision
    return Engine(
        model,
        device=plan.device,
        precision=precision,
        tile=plan.tile,
        trim=plan.trim,
        threads=threads,
    )


def pick_engine(device: str, precision: str) -> tuple[str, str]:
    """Return what ``auto`` means in this process, as (device, precision)."""
    from neuroconn.inference.engine_device import choose

    return choose(device, precision)


def check_model(model: str, chunk: ZYX, settings: InferSettings) -> None:
    """Load a model once before anything starts, and check that the tiling suits it.

    Raises
    ------
    ModelError
        If it is missing, damaged or not finite.
    HaloError
        If chunk or halo would break predictions at chunk borders, or exact mode is asked of a
        network whose normalisation sees the whole tile.
    """
    from neuroconn.network import check_tiling, load_model, receptive_field
    from neuroconn.network.receptive import check_exact

    network = load_model(model).network
    if settings.exact:
        check_exact(network)
    check_tiling(receptive_field(network), chunk, settings.halo, exact=settings.exact)


def versions() -> tuple[tuple[str, str], ...]:
    """Return the packages that client and workers must share, without importing them."""
    return (("neuroconn", __version__), *((name, _version(name)) for name in _PINNED))


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
    here = dict(versions())
    differing = [f"{n} {here[n]} (client: {v})" for n, v in plan.versions if here.get(n) != v]
    if differing:
        raise ClusterError(
            f"worker {worker} has {', '.join(differing)}: its chunks could differ from those of "
            "others. Install the same packages everywhere."
        )
    exact = cache(lambda: factory(plan, threads, True))
    return open_context(plan, factory(plan, threads, False), exact, worker)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
