"""The side of ``neuroconn evaluate`` that clicks: its options and what it does with them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from neuroconn.cli.address import AddressType
from neuroconn.errors import UsageError

SHARED = frozenset(
    {"prediction", "truth", "units", "y_flip", "origin", "label", "ignore", "seed", "as_json"}
)
"""Parameters of the command that both sides understand."""
OWN = frozenset({"brain", "presets", "rays", "views", "view", "unexplored", "figure"})
_EXAMPLE = "clip-6-power-2"


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of ``--markers`` to a command."""
    for option in reversed(
        [
            click.option(
                "--markers",
                is_flag=True,
                help="Measure clicks instead: does a marker land on a neurite, in the brain and "
                "in its overlays?",
            ),
            click.option("--brain", type=AddressType(), help="The brain of PREDICTION."),
            click.option(
                "--preset",
                "presets",
                multiple=True,
                help="An overlay to click into; repeat for more. Without it, all grey ones.",
            ),
            click.option("--rays", default=500, show_default=True, help="Clicks."),
            click.option(
                "--views", default=25, show_default=True, help="Places of a large brain they go to."
            ),
            click.option(
                "--view", default=256, show_default=True, help="Longest side of a view, in voxels."
            ),
            click.option(
                "--unexplored",
                type=click.Choice(["raw", "null"]),
                default="raw",
                show_default=True,
                help="What overlays show where nobody looked.",
            ),
            click.option(
                "--figure",
                type=click.Path(path_type=Path, dir_okay=False),
                help="Draw what a click sees, as PNG.",
            ),
        ]
    ):
        command = option(command)
    return command


def check(context: click.Context, *, markers: bool) -> None:
    """Refuse options that this side of the command would leave unread.

    Raises
    ------
    UsageError
        If one was given on the command line.
    """
    for name in context.params:
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        idle = name not in SHARED | OWN | {"markers"} if markers else name in OWN
        if given and idle:
            option = next(p.opts[0] for p in context.command.params if p.name == name)
            why = "does not concern clicks" if markers else "is about clicks: add --markers"
            raise UsageError(f"{option} {why}")


def run(context: click.Context, given: Mapping[str, Any]) -> None:
    """Click, and print a table or one JSON object.

    Raises
    ------
    UsageError
        If the brain is missing.
    """
    check(context, markers=True)
    if given["brain"] is None:
        raise UsageError("clicks go into a brain: say which with --brain BRAIN")
    presets, figure = given["presets"], given["figure"]
    if figure is not None and not figure.absolute().parent.is_dir():
        raise UsageError(f"{figure.absolute().parent} does not exist: make it, or draw elsewhere")
    # Imported here so that `neuroconn --help` does not wait for zarr.
    from neuroconn.evaluation import Clicks, evaluate_markers

    example = None if figure is None else (presets or (_EXAMPLE,))[0]
    scores = evaluate_markers(
        given["prediction"],
        given["truth"],
        given["brain"],
        presets=list(presets) or None,
        clicks=Clicks(
            rays=given["rays"], views=given["views"], view=given["view"], seed=given["seed"]
        ),
        example=example,
        progress=None if context.obj["quiet"] or not sys.stderr.isatty() else _progress,
        **{k: given[k] for k in ("unexplored", "units", "y_flip", "origin", "label", "ignore")},
    )
    if scores.example is not None:
        from neuroconn.view import save_png
        from neuroconn.view.clicks import draw_clicks

        save_png(figure, draw_clicks(scores.example))
    click.echo(json.dumps(scores.as_dict(), allow_nan=False) if given["as_json"] else str(scores))


def _progress(done: int, views: int) -> None:
    click.echo(f"\r{done} of {views} views", nl=done == views, err=True)
