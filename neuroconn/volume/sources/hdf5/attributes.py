"""Attributes of HDF5 objects, and the texts among them that a damaged file cannot be asked for.

Texts of variable length lie in heaps. On a damaged heap HDF5 (2.0 and before) steps in place for
ever, or frees what it never had. So they are read by another process, which may hang or die.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.hdf5.file import h5py_module

PATIENCE = 30.0
"""Seconds the other process may take; it needs less than one."""

_CHILD = """
import json, sys
import h5py
path, item, *names = json.loads(sys.argv[1])
with h5py.File(path, "r", locking="best-effort") as file:
    attributes = file[item].attrs
    values = {name: attributes[name] for name in names}
def plain(value):
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
json.dump({name: plain(value) for name, value in values.items()}, sys.stdout)
"""


def attributes_of(path: Path, item: Any, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Return attributes of a group or array: numbers as they are, everything else as text.

    Parameters
    ----------
    path : path
        The file.
    item : h5py object
        Whose attributes are wanted, reached through hard links.
    names : sequence of str, optional
        Which; all, if not given. What is absent is left out, and what is neither numbers nor text.

    Raises
    ------
    VolumeError
        If texts are damaged.
    """
    found: dict[str, Any] = {}
    variable: list[str] = []
    for name in list(item.attrs) if names is None else names:
        if not h5py_module().h5a.exists(item.id, name.encode()):
            continue
        kind = _kind(item.attrs.get_id(name).get_type())
        if kind == "fixed":
            found[name] = item.attrs[name]
        elif kind == "variable":
            variable.append(name)
    if variable:
        found |= _texts(path, item.name, variable)
    return found


def text(value: Any) -> str | None:
    r"""Return an attribute as text, whichever of HDF5's ways of storing text was used.

    Imaris stores each character on its own.

    Examples
    --------
    >>> import numpy as np
    >>> text(np.array([b"1", b"2", b"8"])), text(b"um\x00"), text("um"), text(None)
    ('128', 'um', 'um', None)
    """
    if value is None:
        return None
    if hasattr(value, "tolist"):
        value = value.tolist()
    parts = value if isinstance(value, list) else [value]
    joined = "".join(
        p.decode("utf-8", "replace") if isinstance(p, bytes) else str(p) for p in parts
    )
    return joined.replace("\0", "").strip()


def _kind(stored: Any) -> str:
    """Whether a type is of fixed size, text of variable length, or nothing that is read."""
    h5t = h5py_module().h5t
    if isinstance(stored, h5t.TypeStringID):
        return "variable" if stored.is_variable_str() else "fixed"
    numeric = isinstance(stored, (h5t.TypeIntegerID, h5t.TypeFloatID))
    return "fixed" if numeric else "other"


def _texts(path: Path, item: str, names: list[str]) -> dict[str, Any]:
    asked = json.dumps([str(path), item, *names])
    where = f"{path}, attributes of {item}"
    try:
        child = subprocess.run(
            # -P: what lies in the working folder is not imported.
            [sys.executable, "-P", "-c", _CHILD, asked],
            capture_output=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise VolumeError(
            f"{where} are damaged: reading them does not end; copy it again"
        ) from None
    if child.returncode < 0:
        raise VolumeError(f"{where} are damaged: HDF5 crashes on them; copy it again")
    if child.returncode:
        said = child.stderr.decode("utf-8", "replace").strip().splitlines()
        raise VolumeError(f"{where} are damaged ({said[-1] if said else '?'}); copy it again")
    texts: dict[str, Any] = json.loads(child.stdout)
    return texts
