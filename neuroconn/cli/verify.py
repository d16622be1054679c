"""``neuroconn verify``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from neuroconn.cli.address import AddressType
from neuroconn.cli.bar import Bar


@click.command()
@click.argument("output", type=AddressType(exists=True))
@click.option("--repair", is_flag=True, help="Take damage out, for the next infer to fill in.")
@click.option(
    "--against", metavar="SOURCE", help="Compare a brain with its source, voxel by voxel, too."
)
@click.option("--threads", type=click.IntRange(min=1), help="Objects decoded at once.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    output: Path | str,
    repair: bool,
    against: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Check that OUTPUT holds what was written: a map against its journal, a brain by checksums.

    Of a brain, every stored voxel is decoded and compared with the checksum of its conversion, and
    each level of the pyramid with the one below. A flipped bit in an uncompressed source cannot be
    seen by a conversion: --against reads the source again and compares.

    Exit code 0 means sound, 1 that something is damaged or missing. After --repair, run the same
    infer again: it computes the damaged chunks, and only those.
    """
    from neuroconn.inference.output.run_folder import find_run

    if find_run(output) is not None:
        if against is not None:
            raise click.UsageError("--against is for brains; a map has no source")
        _verify_map(ctx, output, repair=repair, as_json=as_json)
        return
    if repair:
        raise click.UsageError("--repair is for maps; convert a damaged brain again")
    from neuroconn.volume import verify_against, verify_image

    quiet = bool((ctx.obj or {}).get("quiet"))
    with Bar("verifying", "blocks", quiet=quiet) as bar:
        problems = verify_image(output, threads=threads, progress=bar.show)
    if against is not None:
        with Bar("comparing", "bands", quiet=quiet) as bar:
            problems += verify_against(output, against, threads=threads, progress=bar.show)
    if as_json:
        click.echo(json.dumps({"output": str(output), "problems": problems, "sound": not problems}))
    else:
        same = "" if against is None else f", and level 0 is {against} voxel for voxel"
        _say(problems, f"{output} is sound{same}")
    ctx.exit(1 if problems else 0)


def _verify_map(ctx: click.Context, output: Path | str, *, repair: bool, as_json: bool) -> None:
    from neuroconn.inference.output.verify import verify

    report = verify(output, repair=repair)
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        problems = [f"{output}/{key} {reason}" for key, reason in report.metadata]
        problems += [f"{file} is the rest of an interrupted write" for file in report.left]
        problems += [f"chunk {index}: {reason}" for index, reason in report.damaged]
        problems += [f"chunk {index}: stored, but not journalled" for index in report.unjournalled]
        problems += [f"level {n}, object {index}: {reason}" for n, index, reason in report.coarse]
        _say(problems, f"{output} is sound: {report.checked} chunks are as they were written")
        for file in report.foreign:
            click.echo(f"{file} is not part of the map, and nobody reads it", err=True)
        if report.failed:
            click.echo(f"{report.failed} chunks failed in the run: holes, but no damage", err=True)
        if report.repaired:
            click.echo("Put right or taken out. Run the same infer command again to fill the gaps.")
    ctx.exit(0 if report.sound or report.repaired else 1)


def _say(problems: list[str], sound: str) -> None:
    for problem in problems:
        click.echo(problem)
    if not problems:
        click.echo(sound)
