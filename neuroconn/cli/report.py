"""``neuroconn report``."""

from __future__ import annotations

from pathlib import Path

import click

from neuroconn.cli.address import AddressType


@click.command()
@click.argument("output", type=AddressType(exists=True))
@click.argument("html", type=click.Path(dir_okay=False, path_type=Path), required=False)
def command(output: Path | str, html: Path | None) -> None:
    """Write the report of the run into OUTPUT again, to HTML or into the run folder.

    One file that opens anywhere: map, course, times, audit, failures, configuration. A run writes
    it when it ends, however it ends; here it can be had while it is under way.
    """
    from neuroconn.view.report import report

    click.echo(f"wrote {report(output, html)}")
