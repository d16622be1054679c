"""What no line of the package may do, because it would lose data or run foreign code."""

import re
from pathlib import Path

import pytest

import neuroconn

PACKAGE = Path(neuroconn.__file__).parent
SOURCES = {str(p.relative_to(PACKAGE)): p.read_text() for p in sorted(PACKAGE.rglob("*.py"))}

FORBIDDEN = {
    "an open that empties the store": r"""\b(?:zarr\.open|open_group|open_array)\([^)]*["']w["']""",
    "a mode that empties the store": r"""mode\s*=\s*["']w["']""",
    "a zarr overwrite": r"overwrite\s*=\s*True",
    "unpickling": r"\b(?:c?pickle|dill|joblib|shelve|cloudpickle)\.(?:load|loads|open)\b",
    "a pickled numpy file": r"allow_pickle\s*=\s*True",
    "a pickled checkpoint": r"weights_only\s*=\s*False",
    "a shell": r"\bshell\s*=\s*True|os\.system\(",
    "evaluated text": r"(?<![\w.])(?:eval|exec)\([^)]",
    "a path of one machine": r"""["'](?:/home/|/Users/|/mnt/|/scratch/|/data/|/work/|[A-Z]:\\\\)""",
    "a leftover": r"\b(?:TODO|FIXME|XXX|HACK)\b|\bbreakpoint\(|\bpdb\b",
    "a write to stdout past click": r"(?<![\w.])print\(",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_nothing_in_the_package_holds(what: str) -> None:
    found = [
        f"{name}: {line.strip()}"
        for name, text in SOURCES.items()
        for line in text.splitlines()
        if re.search(FORBIDDEN[what], line)
    ]

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("an open that empties the store", 'zarr.open_group(path, "w")'),
        ("a mode that empties the store", 'zarr.open(path, mode="w")'),
        ("unpickling", "pickle.load(file)"),
        ("a pickled checkpoint", "torch.load(path, weights_only=False)"),
        ("a path of one machine", 'open("/home/someone/brain.tif")'),
        ("evaluated text", "value = eval(text)"),
    ],
)
def test_the_patterns_catch_what_they_are_for(what: str, line: str) -> None:
    assert re.search(FORBIDDEN[what], line)


def test_torch_reads_files_with_weights_only() -> None:
    loads = [
        (name, text[m.start() : m.start() + 200])
        for name, text in SOURCES.items()
        for m in re.finditer(r"(?<!safetensors\.)\btorch\.load\(", text)
    ]

    assert loads
    for name, call in loads:
        assert "weights_only=True" in call, f"{name}: {call.splitlines()[0]}"


def test_yaml_is_read_by_our_strict_loader_alone() -> None:
    loaders = re.compile(r"\byaml\.(?:load|safe_load|full_load|unsafe_load|load_all)\w*\([^\n]*")
    calls = [(name, m.group()) for name, text in SOURCES.items() for m in loaders.finditer(text)]

    assert calls
    for name, call in calls:
        assert "Loader=_StrictLoader" in call, f"{name}: {call}"


def test_no_module_has_grown_past_400_lines() -> None:
    long = {name: n for name, text in SOURCES.items() if (n := len(text.splitlines())) > 400}

    assert not long
