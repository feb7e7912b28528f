"""A package is met once it is whole, though what it imports is stepped into before."""

import importlib
import sys

import pytest
import wrapt

from evengrad.adapters.common.importing import expect_imports, when_imported

OUTER, INNER = "evengrad_test_outer", "evengrad_test_inner"


@pytest.fixture(autouse=True)
def packages(tmp_path, monkeypatch):
    (tmp_path / f"{INNER}.py").write_text("")
    (tmp_path / f"{OUTER}.py").write_text(f"import {INNER}\ndef update(): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in (OUTER, INNER):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("first", [OUTER, INNER])
def test_whoever_comes_first_both_are_whole(first):
    met = []
    expect_imports([OUTER])
    wrapt.register_post_import_hook(
        lambda _: when_imported(OUTER, lambda module: met.append(hasattr(module, "update"))), INNER
    )
    importlib.import_module(first)
    importlib.import_module(OUTER)
    assert met == [True]
    when_imported(OUTER, lambda module: met.append(module.__name__))
    assert met == [True, OUTER]
