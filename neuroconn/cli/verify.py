"""``neuroconn verify``."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("output", type=click.Path(exists=True, path_type=Path))
@click.option("--repair", is_flag=True, help="Take damage out, for the next infer to fill in.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
@click.pass_context
def command(ctx: click.Context, output: Path, repair: bool, as_json: bool) -> None:
    """Check that OUTPUT holds what was written: a map against its journal, a brain by checksums.

    Exit code 0 means sound, 1 that something is damaged or missing. After --repair, run the same
    infer again: it computes the damaged chunks, and only those.
    """
    from neuroconn.inference.output import find_run

    if find_run(output) is not None:
        _verify_map(ctx, output, repair=repair, as_json=as_json)
        return
    if repair:
        raise click.UsageError("--repair is for maps; convert a damaged brain again")
    from neuroconn.volume.verify import verify_image

    problems = verify_image(output)
    if as_json:
        click.echo(json.dumps({"output": str(output), "problems": problems, "sound": not problems}))
    else:
        _say(problems, f"{output} is sound")
    ctx.exit(1 if problems else 0)


def _verify_map(ctx: click.Context, output: Path, *, repair: bool, as_json: bool) -> None:
    from neuroconn.inference.verify import verify

    report = verify(output, repair=repair)
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        problems = [f"chunk {index}: {reason}" for index, reason in report.damaged]
        problems += [f"chunk {index}: stored, but not journalled" for index in report.unjournalled]
        problems += [f"level {n}, object {index}: {reason}" for n, index, reason in report.coarse]
        _say(problems, f"{output} is sound: {report.checked} chunks are as they were written")
        if report.failed:
            click.echo(f"{report.failed} chunks failed in the run: holes, but no damage", err=True)
        if report.repaired:
            click.echo("Taken out. Run the same infer command again to fill the gaps.")
    ctx.exit(0 if report.sound or report.repaired else 1)


def _say(problems: list[str], sound: str) -> None:
    for problem in problems:
        click.echo(problem)
    if not problems:
        click.echo(sound)
