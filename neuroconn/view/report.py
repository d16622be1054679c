"""``report.html``: what a run did, in one file that opens anywhere and asks for nothing.

It is made from the run folder alone (journal, events, audit) and, for the picture behind the map,
from the brain if that is still where it was; so it can be made again at any time.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neuroconn.errors import NeuroconnError
from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference.frontier.frontier import EMPTY, NEURITE, Frontier
from neuroconn.inference.output.resumption import audit_of
from neuroconn.inference.watching.samples import Session
from neuroconn.view.follow import Follower, Snapshot
from neuroconn.view.projection import View, brain_views
from neuroconn.view.recorder import ChunkTimes
from neuroconn.volume.address import Address
from neuroconn.volume.store import Image, open_image

logger = logging.getLogger(__name__)

NAME = "report.html"


@dataclass(frozen=True)
class RunFacts:
    """Everything a report says."""

    now: Snapshot
    grid: ChunkGrid
    frontier: Frontier
    times: ChunkTimes
    sessions: Sequence[Session]
    incidents: Mapping[str, int]
    """How often what went wrong, of the latest thousand incidents."""
    reasons: Mapping[ZYX, str]
    """Why chunks failed."""
    voxels: int
    """Of the stored chunks."""
    audit: str
    warnings: Sequence[str]
    attributes: Mapping[str, Any]
    """Of the map: settings, model, brain, versions."""
    spacing_um: tuple[float, float, float]
    brain: str
    views: tuple[View, ...] | None
    """The brain along z, y and x, if it was found."""


def report(output: str | Address, to: str | Path | None = None, *, over: bool = False) -> str:
    """Write the report of a run, finished or not, and return where.

    Parameters
    ----------
    output : path
        An output of ``infer``.
    to : path, optional
        A file; ``report.html`` in the run folder by default.
    over : bool, optional
        The client that still holds the lock has ended its run: it writes its own report.

    Raises
    ------
    OutputError
        If the path is not an output of ``infer``.
    """
    from neuroconn.view.report_html import render

    follower = Follower(output)
    facts = gather(follower)
    if over:
        facts = replace(facts, now=replace(facts.now, running=None))
    text = render(facts)
    if to is None:
        follower.folder.write_bytes(NAME, text.encode())
        return str(follower.folder.path / NAME)
    file = Path(to)
    part = file.with_name(f".{file.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
    return str(to)


def gather(follower: Follower) -> RunFacts:
    """Read all that a report needs."""
    while follower.refresh():
        pass
    image = open_image(follower.output)
    sessions = follower.sessions.all
    incidents = follower.sessions.incidents
    frontier = follower.frontier
    audit = audit_of(follower.folder, frontier)
    last = follower.folder.read_report()
    brain = next((str(s.start["brain"]) for s in reversed(sessions) if "brain" in s.start), "")
    return RunFacts(
        now=follower.snapshot(),
        grid=follower.grid,
        frontier=frontier,
        times=follower.times,
        sessions=sessions,
        incidents=Counter(str(event["event"]) for event in incidents),
        reasons=follower.folder.failures(),
        voxels=stored_voxels(follower.grid, frontier),
        audit=str(audit) if audit is not None else "",
        warnings=last.get("warnings", ()),
        attributes=image.attributes,
        spacing_um=image.frames[0].spacing_um,
        brain=brain,
        views=_views(brain, image),
    )


def stored_voxels(grid: ChunkGrid, frontier: Frontier) -> int:
    """Voxels of the chunks that are stored; those at the far faces may be partial.

    Examples
    --------
    >>> grid = ChunkGrid(shape=(4, 4, 10), chunk=(4, 4, 4))
    >>> frontier = Frontier(grid, [])
    >>> frontier.state[0, 0] = [NEURITE, 0, EMPTY]
    >>> stored_voxels(grid, frontier)
    96
    """
    sizes = [
        np.minimum(c, n - c * np.arange(k))
        for n, c, k in zip(grid.shape, grid.chunk, grid.counts, strict=True)
    ]
    total = 0
    for z, thick in enumerate(sizes[0].tolist()):
        here = np.isin(frontier.state[z], (NEURITE, EMPTY))
        total += thick * int(sizes[1] @ (here @ sizes[2]))
    return total


def _views(brain: str, output: Image) -> tuple[View, ...] | None:
    """See the brain, if it is there and of the right shape."""
    if not brain:
        return None
    try:
        image = open_image(brain)
        level = int(output.attributes.get("infer", {}).get("level", 0))
        if image.levels[level].shape != output.levels[0].shape:
            return None
        return brain_views(image, level)
    except (NeuroconnError, OSError, ValueError, IndexError) as error:
        logger.info("no picture of the brain in the report: %s", error)
        return None
