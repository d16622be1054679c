"""The package as a user meets it: names, version, examples."""

import doctest
import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import neuroconn

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def modules() -> Iterator[str]:
    yield "neuroconn"
    for found in pkgutil.walk_packages(neuroconn.__path__, "neuroconn."):
        if not found.name.endswith("__main__"):  # importing it runs the program
            yield found.name


def test_all_is_sorted_and_names_what_dir_shows() -> None:
    assert neuroconn.__all__ == sorted(neuroconn.__all__)
    assert dir(neuroconn) == neuroconn.__all__


@pytest.mark.parametrize("name", neuroconn.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    value = getattr(neuroconn, name)

    assert isinstance(value, str) or value.__doc__


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'walk'"):
        neuroconn.walk  # noqa: B018


def test_the_lazy_table_and_all_agree() -> None:
    table = {*neuroconn._HOME, "__version__"}

    assert table == set(neuroconn.__all__)


def test_the_version_is_a_release_number() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev|\.post)\d+)?", neuroconn.__version__)


@pytest.mark.parametrize("name", list(modules()))
def test_every_module_imports_and_its_examples_hold(name: str) -> None:
    module = importlib.import_module(name)

    assert module.__doc__, f"{name} does not say what it is for"
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=FLAGS)
    for example in finder.find(module, name, extraglobs={"np": np}):
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.parametrize("name", [n for n in modules() if n.count(".") == 1])
def test_the_names_a_part_offers_are_there(name: str) -> None:
    part = importlib.import_module(name)
    if not is_package(part):
        return

    offered = list(getattr(part, "__all__", []))

    assert len(offered) == len(set(offered))
    for public in offered:
        assert getattr(part, public) is not None


def is_package(module: ModuleType) -> bool:
    return Path(str(module.__file__)).name == "__init__.py"


def test_importing_the_package_loads_nothing_heavy() -> None:
    import subprocess

    code = (
        "import sys, neuroconn; print(len({'numpy', 'torch', 'dask', 'zarr'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "0"
