"""``neuroconn status``."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("output", type=click.Path(exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the state as one JSON object.")
def command(output: Path, as_json: bool) -> None:
    """Say how far the run into OUTPUT has come; safe while it is running."""
    from neuroconn.inference.status import status

    found = status(output)
    if as_json:
        click.echo(json.dumps(found.to_json()))
        return
    total = sum(found.chunks.values())
    for name, count in found.chunks.items():
        if count:
            click.echo(f"{name:<12}{count:>9}  {100 * count / total:5.1f} %")
    click.echo(f"{'grid':<12}{total:>9}")
    if found.running:
        click.echo(f"running: {found.running}")
    elif found.complete:
        click.echo("complete")
    else:
        click.echo("not complete: run the same command again to go on")
    for line in found.exceptions:
        click.echo(line)
