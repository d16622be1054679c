"""Imports point one way, and heavy libraries stay in the parts that need them."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import neuroconn

PACKAGE = Path(neuroconn.__file__).parent
LAYERS = [
    {"errors", "geometry", "config", "_version"},
    {"annotation", "volume", "vaa3d", "network", "phantom"},
    {"loss", "metrics"},
    {"training", "inference", "tracing", "view", "sites", "exporter", "evaluation", "testing"},
    {"demonstration", "doctor"},
    {"cli", "__init__", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(source: str) -> Iterator[str]:
    """The parts of neuroconn a module imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "neuroconn":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("neuroconn."):
            yield str(node.module).split(".")[1]


def libraries(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
    return names


def part(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_imports_point_down(module: Path) -> None:
    here = LEVEL[part(module)]
    for name in imported(module.read_text()):
        if name not in LEVEL:  # a public name from the tour, as users write it
            assert here >= LEVEL["doctor"], f"{module.name} imports {name} from the top"
            continue
        assert LEVEL[name] <= here, f"{module.name} reaches up to {name}"


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_torch_and_dask_stay_in_their_rooms(module: Path) -> None:
    used = libraries(module.read_text())
    where = str(module.relative_to(PACKAGE))

    if "torch" in used:
        rooms = ("network", "loss", "training", "cli/doctor.py", "doctor.py", "inference/engine")
        assert where.startswith(rooms), f"{where} imports torch"
    if used & {"dask", "distributed"}:
        rooms = (
            "inference/scheduler.py",
            "inference/worker.py",
            "sites",
            "volume/convert",
            "volume/open.py",
            "exporter/distributed.py",
            "phantom/lazy.py",
            "cli/doctor.py",
            "doctor.py",
            "view",
        )
        assert where.startswith(rooms), f"{where} imports dask"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from neuroconn.cli import main;"
        "r = CliRunner().invoke(main, ['--help']); assert r.exit_code == 0, r.output;"
        "print([m for m in ('torch','dask','distributed','zarr','numba','xarray','scipy')"
        " if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
