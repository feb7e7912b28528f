"""What is found by being there, and what is said of a file that lacks something."""

import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from evengrad.errors import DefinitionError
from evengrad.values.discovery import expect, modules


@pytest.fixture
def folder(tmp_path, monkeypatch):
    package = tmp_path / "found_here"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.startswith("found_here")]:
        del sys.modules[name]


def test_every_module_of_the_folder_by_name(folder):
    for name in ("b", "a"):
        (folder / f"{name}.py").write_text(f"NAME = {name!r}")
    assert [module.NAME for module in modules("found_here")] == ["a", "b"]


@pytest.mark.parametrize("text", ["import nothing_of_this_name", "def (", "1 / 0"])
def test_a_file_that_cannot_be_imported_is_named(folder, text):
    (folder / "wrong.py").write_text(text)
    with pytest.raises(DefinitionError, match=r"found_here/wrong\.py cannot be imported: .*Error"):
        list(modules("found_here"))


def test_all_that_is_wrong_is_said_at_once():
    holder = SimpleNamespace(CODE=1, check=print)
    holder.__doc__ = " "
    with pytest.raises(DefinitionError) as caught:
        expect("rules/mine.py", holder, "a rule", CODE=str, SICK=tuple, check=Callable)
    assert str(caught.value) == (
        "rules/mine.py: a rule needs a docstring (missing); CODE, a string (is 1); SICK, a tuple (missing)."
    )
    holder = SimpleNamespace(CODE="EG1", SICK=(), check=print)
    holder.__doc__ = "What it does."
    expect("rules/mine.py", holder, "a rule", CODE=str, SICK=tuple, check=Callable)
