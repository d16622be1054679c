"""``neuroconn doctor``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neuroconn.cli.address import AddressType

if TYPE_CHECKING:
    from neuroconn.doctor import Diagnosis


@click.command()
@click.option(
    "--model",
    default="default",
    show_default=True,
    help="A folder, a shipped model, TorchScript or ONNX with a card, or a bioimage.io package.",
)
@click.option(
    "--brain",
    type=AddressType(exists=True),
    help="OME-Zarr brain to measure the error at chunk borders on.",
)
@click.option(
    "--halo",
    "halos",
    type=click.IntRange(0),
    multiple=True,
    default=(16, 32, 48),
    show_default=True,
    help="Halo to measure on the brain, beside that of the settings; repeat for more.",
)
@click.option("--preset", default="default", show_default=True, help="Settings of infer to try.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting.")
@click.option("--threads", type=click.IntRange(1), help="Threads of the network.")
@click.option("--rf", is_flag=True, help="Measure how far the trained weights look in practice.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(
    context: click.Context,
    model: str,
    brain: Path | str | None,
    halos: tuple[int, ...],
    preset: str,
    assignments: tuple[str, ...],
    threads: int | None,
    rf: bool,
    as_json: bool,
) -> None:
    """Say what this machine and this model can do, and what is wrong with them.

    With --brain, also how far the map of a tile is from the network on the whole brain. The exit
    code is 0 if nothing is broken; warnings do not count.
    """
    from neuroconn.config.base import read_settings
    from neuroconn.config.infer import InferSettings
    from neuroconn.config.presets import find_preset

    settings = read_settings(InferSettings, find_preset("infer", preset), *assignments)
    # Imported here so that `neuroconn --help` does not wait for torch.
    from neuroconn.doctor import doctor

    found = doctor(model, brain=brain, settings=settings, halos=halos, threads=threads, rf=rf)
    if as_json:
        click.echo(json.dumps(found.as_dict()))
    else:
        for line in describe(found):
            click.echo(line)
    context.exit(found.exit_code)


def describe(found: Diagnosis) -> Iterator[str]:
    """Yield a diagnosis as lines for people."""
    here = found.machine
    yield "versions   " + ", ".join(f"{k} {v}" for k, v in found.versions.items())
    memory = "" if here.memory_gib is None else f", {here.memory_gib:.1f} GiB free"
    half = "bfloat16 in hardware" if here.bfloat16 else "no bfloat16"
    yield (
        f"machine    {here.platform}; {here.cpus} cores, torch uses {here.threads}, "
        f"{here.instructions}, {half}{memory}"
    )
    yield f"GPUs       {'; '.join(here.gpus) or 'none'}"
    yield from _model(found)
    yield from _seams(found)
    yield from (f"warning    {text}" for text in found.warnings)
    yield from (f"PROBLEM    {text}" for text in found.problems)


def _model(found: Diagnosis) -> Iterator[str]:
    if model := found.model:
        spacing = " x ".join(f"{s:g}" for s in model.spacing_um)
        yield (
            f"model      {model.name} {model.sha256[:12]}: {model.architecture['name']}, "
            f"{model.parameters:,} parameters, clip {model.clip:g}, trained at {spacing} µm"
        )
        if model.halo_needed is None:
            yield f"sees       all of a tile, or not measured (--rf does); grid {model.stride}"
        else:
            yield (
                f"sees       {model.halo_needed} voxels around a chunk; exact halo "
                f"{model.halo_exact}, pooling grid {model.stride}"
            )
        if model.scores:
            yield "scores     " + ", ".join(f"{k} {v:.3g}" for k, v in model.scores.items())
    if speed := found.speed:
        side = "x".join(map(str, speed.tile))
        yield (
            f"speed      {speed.seconds_per_chunk:.2f} s a chunk ({speed.chunks_per_second:.2f} "
            f"chunks/s), tile {side}, {speed.precision} on {speed.device}, engine {speed.engine}"
        )
        free = "" if speed.available_gib is None else f", {speed.available_gib:.2f} free"
        yield f"memory     {speed.memory_gib:.2f} GiB a tile at its peak{free}"
        yield f"check      {speed.precision} is within {speed.half_error:.2g} voxels of float32"
    if found.radii:
        shares = ", ".join(f"{r.share:.1%} within {r.radius}" for r in found.radii)
        yield f"looks      gradient of an output voxel: {shares} voxels"


def _seams(found: Diagnosis) -> Iterator[str]:
    for seam in found.seams:
        mine = "  <- the halo of these settings" if seam.halo == found.halo else ""
        whole = "the whole" if seam.exact else f"a halo of {seam.reference}, none is exact here"
        yield (
            f"seam       halo {seam.halo:3d}: max {seam.largest:.2g}, 99.9 % {seam.p999:.2g}, "
            f"mean {seam.mean:.2g} voxels from {whole}{mine}"
        )
    exact = found.model.halo_exact if found.model else None
    if found.seams and exact is not None and found.halo >= exact:
        yield f"seam       halo {found.halo:3d}: none, it is exact  <- the halo of these settings"
