"""The page on training runs as it stands, from top to bottom."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "training.md"
BLOCK = re.compile(r"```(python|sh|yaml)\n(.*?)```", re.DOTALL)


def blocks() -> Iterator[tuple[str, str]]:
    """Language and text of every block, in order."""
    return ((found[1], found[2]) for found in BLOCK.finditer(PAGE.read_text(encoding="utf-8")))


def run(language: str, text: str, folder: Path) -> None:
    """Write a YAML block to the file that its first line names; run any other."""
    if language == "yaml":
        name = text.partition(":")[0].removeprefix("# ")
        (folder / name).write_text(text, encoding="utf-8")
        return
    program = [sys.executable, "-c", text] if language == "python" else ["bash", "-ec", text]
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        program,
        cwd=folder,
        env={**os.environ, "PATH": paths},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
def test_every_block_runs_in_order(tmp_path: Path) -> None:
    for language, text in blocks():
        run(language, text, tmp_path)

    assert (tmp_path / "crops.zarr" / "figures" / "0-brain-voxels.png").is_file()
    assert (tmp_path / "run" / "model").is_dir()


def test_every_setting_file_says_its_name() -> None:
    named = [text for language, text in blocks() if language == "yaml"]

    assert named
    assert all(re.match(r"# [a-z.-]+\.yaml: neuroconn ", text) for text in named)
