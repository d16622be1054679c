"""``neuroconn info``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from neuroconn.volume.describe import Info


@click.command()
@click.argument("path")
@click.option("--channel", type=click.IntRange(min=0), help="Which channel, counted from 0.")
@click.option("--dataset", metavar="NAME", help="Which array of a container.")
@click.option("--check", is_flag=True, help="Decode every voxel of a source and list bad places.")
@click.option("--threads", type=click.IntRange(min=1), help="Pieces decoded at once.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    path: str,
    channel: int | None,
    dataset: str | None,
    check: bool,
    threads: int | None,
    as_json: bool,
) -> None:
    """Say what PATH is: any source that can be converted, a brain, or a distance map.

    Exit code 0: readable; 1: readable, with problems; 3: nothing can be made of it.
    """
    from neuroconn.volume import info

    found = info(path, channel=channel, dataset=dataset, check=check, threads=threads)
    if as_json:
        click.echo(json.dumps(found.as_dict()))
    else:
        for line in _lines(found):
            click.echo(line)
    ctx.exit(1 if found.problems else 0)


def _lines(found: Info) -> list[str]:
    spacing = "unknown" if found.spacing_um is None else f"{_by(found.spacing_um)} µm"
    rows: list[tuple[str, Any]] = [
        (found.what, found.description),
        ("shape", f"{_by(found.shape)} {found.dtype} (z, y, x)"),
        ("spacing", spacing),
        ("unit", f"{_by(found.unit)} voxels"),
    ]
    if any(found.origin_um):
        rows.append(("origin", f"{_by(found.origin_um)} µm"))
    if found.channels > 1:
        rows.append(("channels", found.channels))
    rows += _facts(found.facts)
    rows += [("note", note) for note in found.notes]
    rows += [("problem", problem) for problem in found.problems]
    return [f"{name:<11}{value}" for name, value in rows]


def _facts(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    if "levels" in facts:
        made = f" by {facts['downsample']}" if facts["downsample"] else ""
        rows.append(("levels", ", ".join(map(_by, facts["levels"])) + made))
    if facts.get("shards"):
        rows.append(("shards", f"{_by(facts['shards'])} voxels"))
    if "source" in facts:
        mapping = f", mapped by {facts['mapping']}" if facts["mapping"] else ""
        rows.append(("source", f"{facts['source']}{mapping}"))
    if "intensity" in facts:
        found = facts["intensity"]
        shown = found["percentiles"]
        rows.append(
            (
                "intensity",
                f"median {shown['50']}, 99.9 % below {shown['99.9']}, {found['zeros']:.1%} zeros, "
                f"{found['saturated']:.2%} saturated",
            )
        )
    for axis, name in (("z", "flicker"), ("y", "seams in y"), ("x", "seams in x")):
        value = facts.get("unevenness", {}).get(axis)
        if value is not None:
            rows.append((name, f"{value:.1%} from one median to the next, at most"))
    return rows


def _by(values: Any) -> str:
    return " x ".join(f"{value:g}" for value in values)
