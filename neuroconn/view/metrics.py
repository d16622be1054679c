"""Runs as Prometheus series, in the ``/metrics`` of the scheduler that shows them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

from neuroconn.view.board import Board

logger = logging.getLogger(__name__)

_STATES = ("neurite", "empty", "failed", "queued", "in_flight")


class RunCollector:
    """Makes the series of all runs of all boards of this process.

    Attributes
    ----------
    boards : weak set of Board
        Where runs are read from.
    """

    def __init__(self) -> None:
        self.boards: WeakSet[Board] = WeakSet()

    def collect(self) -> Iterator[Any]:
        """Yield the families, as ``prometheus_client`` asks for them."""
        from prometheus_client import core

        runs = {run["run"]: run for board in self.boards for run in board.runs()}
        heard = {name: run for name, run in runs.items() if "chunks" in run}
        yield self._states(core, heard)
        for kind, name, help_text, key in (
            (core.CounterMetricFamily, "voxels", "Voxels of the chunks stored.", "voxels"),
            (
                core.CounterMetricFamily,
                "model_seconds",
                "Seconds the networks of the workers ran.",
                "model_seconds",
            ),
            (core.GaugeMetricFamily, "busy_ratio", "Share of time a network ran.", "busy"),
            (core.GaugeMetricFamily, "slots", "Chunks that can run at the same time.", "slots"),
        ):
            family = kind(f"neuroconn_{name}", help_text, labels=["run"])
            for run, fields in heard.items():
                family.add_metric([run], fields[key])
            yield family
        yield self._times(core, heard)

    @staticmethod
    def _states(core: Any, runs: dict[str, dict[str, Any]]) -> Any:
        family = core.GaugeMetricFamily(
            "neuroconn_chunks", "Chunks in each state.", labels=["run", "state"]
        )
        for run, fields in runs.items():
            for state in _STATES:
                family.add_metric([run, state], fields["chunks"][state])
        return family

    @staticmethod
    def _times(core: Any, runs: dict[str, dict[str, Any]]) -> Any:
        family = core.HistogramMetricFamily(
            "neuroconn_chunk_seconds", "Wall time of finished chunks.", labels=["run"]
        )
        for run, fields in runs.items():
            if "times" not in fields:
                continue
            times, below, buckets = fields["times"], 0, []
            for bound, count in zip([*times["bounds"], "+Inf"], times["counts"], strict=True):
                below += count
                buckets.append((str(bound if bound == "+Inf" else float(bound)), below))
            family.add_metric([run], buckets, sum_value=times["sum"])
        return family


_collector: RunCollector | None = None


def register(board: Board) -> bool:
    """Show the runs of a board in this process's metrics; False without ``prometheus_client``.

    There is one collector for all boards, since a name may be registered once only.
    """
    global _collector
    try:
        from prometheus_client import REGISTRY
    except ImportError:
        logger.info("no metrics of runs: install neuroconn[prometheus] on the scheduler")
        return False
    if _collector is None:
        _collector = RunCollector()
        REGISTRY.register(_collector)
    _collector.boards.add(board)
    return True
