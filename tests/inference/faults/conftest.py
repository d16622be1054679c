"""Makes ``labs.py`` importable by name, in the tests and in the processes they start."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from labs import Lab


@pytest.fixture
def lab(tmp_path: Path) -> "Lab":
    """A folder with a model, and no brain yet."""
    from labs import Lab

    return Lab(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a brain without records, and the map ``calm`` of an undisturbed run."""
    from fakes import fibre, save_brain
    from labs import Lab

    lab = Lab(tmp_path_factory.mktemp("finished"))
    save_brain(lab.brain, fibre())
    lab.run("calm")
    return lab.folder


@pytest.fixture
def ready(finished: Path, tmp_path: Path) -> "Lab":
    """A lab with a brain, and the map ``calm`` to compare with."""
    from labs import Lab

    shutil.copytree(finished, tmp_path / "lab")
    return Lab(tmp_path / "lab")


@pytest.fixture
def calm(ready: "Lab") -> "Lab":
    """A lab with a finished map, and ``calm`` to compare it with."""
    shutil.copytree(ready.output("calm"), ready.output())
    return ready
