"""``neuroconn demo``."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("demo")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("demo"))
@click.option("--scheduler", default="local", show_default=True, help="As for `neuroconn infer`.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def command(folder: Path, scheduler: str, as_json: bool) -> None:
    """Run convert, infer and export on a small real volume, into FOLDER.

    The volume comes with the package: axons in cleared mouse brain. Nothing is downloaded.
    """
    from neuroconn.demonstration import demo

    report = demo(folder, scheduler=scheduler, say=lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps(report.as_dict()))
        return
    rows = report.rows()
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")
    click.echo(
        f"""
look       {folder / "figures"}: brain.png, distance.png, chunks.png, overlay-*.png
napari     napari --plugin napari-ome-zarr {report.brain}   (and {report.distance})
Python     neuroconn.open_volume("{report.distance}")
browser    neuroglancer: serve {folder} with CORS, add zarr3://http://127.0.0.1:PORT/brain.ome.zarr/
Vaa3D      File > Open TeraFly volume > the largest RES folder in {report.tiles}"""
    )
