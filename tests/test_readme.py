"""Every command and every example of the README runs, as it stands there."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tifffile

from neuroconn.annotation import Forest
from neuroconn.cli import COMMANDS
from neuroconn.phantom import Phantom

README = Path(__file__).resolve().parents[1] / "README.md"
SETUP = ("make ", "pip ")
"""Lines that set up an environment; this test runs inside one."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``slices/``: a phantom whose neurite passes through the README's seed."""
    path = tmp_path_factory.mktemp("readme")
    nodes = [[48.0, 64.0, float(x)] for x in range(0, 128, 8)]
    forest = Forest(nodes, parents=[i - 1 for i in range(len(nodes))])
    (path / "slices").mkdir()
    for z, plane in enumerate(Phantom((96, 128, 128), [forest], seed=3).image()):
        tifffile.imwrite(path / "slices" / f"slice_{z:03}.tif", plane)
    return path


def shell(script: str, folder: Path) -> str:
    """Run a block in bash; what it leaves in the background is stopped when it ends."""
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    script = "set -e\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + script
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": paths},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def scripts() -> Iterator[str]:
    for block in blocks("sh"):
        lines = [line for line in block.splitlines() if not line.startswith(SETUP)]
        if any(line and not line.startswith("#") for line in lines):
            yield "\n".join(lines)


@pytest.mark.cluster
@pytest.mark.slow
def test_the_shell_blocks_run_in_order(folder: Path) -> None:
    for script in scripts():
        shell(script, folder)

    assert (folder / "terafly").is_dir()
    assert (folder / "auto.ome.zarr" / "zarr.json").is_file()


@pytest.mark.cluster
@pytest.mark.slow
def test_the_python_blocks_run(folder: Path) -> None:
    if not (folder / "brain.ome.zarr").is_dir():
        shell("neuroconn convert slices/ brain.ome.zarr --spacing 2.5 1.3 1.3", folder)
    for number, block in enumerate(blocks("python")):
        program = folder / f"example_{number}.py"
        program.write_text(block + "    assert bool(near.any().compute())\n", encoding="utf-8")
        subprocess.run([sys.executable, program], cwd=folder, check=True, timeout=200)


def test_the_first_commands_are_make_demo_and_make_test() -> None:
    first = [line.split("#")[0].strip() for line in blocks("sh")[0].splitlines()]

    assert first == ["make demo", "make test"]


def test_every_command_is_in_the_table_or_the_examples() -> None:
    text = README.read_text(encoding="utf-8")

    for name in COMMANDS:
        assert f"neuroconn {name}" in text or f"make {name}" in text


def test_every_link_into_the_repository_leads_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / link).exists(), link


def test_pictures_stay_small() -> None:
    for picture in (README.parent / "docs").rglob("*.png"):
        assert picture.stat().st_size <= 300_000, picture
