"""An environment for each peer, made once: their pins contradict each other."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
MARK = "\n# peer: "


class InstallError(Exception):
    """A peer cannot be had on this machine, with what pip said last."""


def sections(text: str) -> dict[str, str]:
    """Split requirements into the peers they belong to.

    Examples
    --------
    >>> sections("# peer: a\\nx==1\\n\\n# peer: b\\ny==2\\n")
    {'a': 'x==1\\n', 'b': 'y==2\\n'}
    """
    parts = f"\n{text}".split(MARK)[1:]
    return {part.split("\n", 1)[0].strip(): part.split("\n", 1)[1] for part in parts}


def peer_python(folder: Path, peer: str, python: str) -> Path:
    """Return the interpreter of a peer's environment; make it if its pins changed.

    Raises
    ------
    InstallError
        If pip cannot install the peer.
    """
    pins = sections(REQUIREMENTS.read_text())[peer]
    digest = hashlib.sha256(f"{pins}{_version(python)}".encode()).hexdigest()[:12]
    home = folder / f"{peer}-{digest}"
    interpreter, stamp = home / "bin" / "python", home / ".installed"
    if stamp.is_file():
        return interpreter
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    _run([python, "-m", "venv", str(home)])
    with tempfile.TemporaryDirectory() as scratch:
        if peer == "eubi-bridge":
            pins = _without_jdk(interpreter, pins, Path(scratch))
        listed = Path(scratch) / "requirements.txt"
        listed.write_text(pins)
        _run([str(interpreter), "-m", "pip", "install", "--quiet", "-r", str(listed)])
    stamp.touch()
    return interpreter


def _without_jdk(interpreter: Path, pins: str, scratch: Path) -> str:
    """Unpack eubi-bridge with the place of its Java taken, and return pins that name the folder.

    Its build downloads 180 MB of Java unless some is there. TIFF slices are read without any.
    """
    name = next(line for line in pins.splitlines() if line.startswith("eubi-bridge=="))
    fetch = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), name]
    _run([str(interpreter), *fetch])
    archive = next(scratch.glob("eubi*"))
    if archive.suffix == ".whl":
        return pins
    with tarfile.open(archive) as sources:
        sources.extractall(scratch, filter="data")
    unpacked = next(path for path in scratch.iterdir() if path.is_dir())
    java = unpacked / "eubi_bridge" / "bioformats" / "jdk" / "linux"
    java.mkdir(parents=True)
    (java / "README").write_text("Left out: TIFF needs no Java.\n")
    return pins.replace(name, str(unpacked))


def _version(python: str) -> str:
    return _run([python, "-c", "import sys; print(sys.version)"])


def _run(words: list[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if "rror" in line]
        raise InstallError(lines[-1] if lines else f"exit status {done.returncode}")
    return done.stdout
