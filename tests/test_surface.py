"""The public names: all there, all documented, none in another's way; how results show themselves."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import evengrad
from evengrad.diagnosis.catalogue import explanations
from evengrad.fixing.outcome import Fixing, FixPlan
from evengrad.values.display import Displayed
from evengrad.values.finding import Cause, Finding, Severity

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_every_name_is_there_and_documented():
    page = (ROOT / "docs/api.md").read_text()
    named = set(re.findall(r"`(?:evengrad\.)?([A-Za-z]+)[`(.]", page))
    callbacks = {"keras", "lightning", "transformers"}
    assert set(evengrad.__all__) <= named | callbacks
    assert all(f"evengrad.{name}.Watch" in page for name in callbacks)
    for name in evengrad.__all__:
        assert getattr(evengrad, name) is not None
    assert sorted(evengrad.__all__) == evengrad.__all__
    assert set(evengrad.__all__) <= set(dir(evengrad))


def test_the_readme_names_every_finding():
    tables = [line for line in PAGES[0].read_text().splitlines() if line.startswith("| EG")]
    named = [code for line in tables for code in re.findall(r"EG\d{3}", line)]
    assert sorted(named) == sorted(explanations())


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(evengrad.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name for node in block.body for alias in node.names}
    assert seen == set(evengrad.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_name_in_the_documents_exists(page):
    for dotted in set(re.findall(r"\bevengrad((?:\.[A-Za-z_]\w*)+)(?=[(`\s])", page.read_text())):
        if dotted.endswith(".Watch") or dotted.endswith(("toml", "py")):
            continue
        found = evengrad
        for part in dotted.split(".")[1:]:
            try:
                found = getattr(found, part)
            except AttributeError:
                found = importlib.import_module(f"{found.__name__}.{part}")
        assert found is not None


def test_signatures_in_the_page_are_the_real_ones():
    page = (ROOT / "docs/api.md").read_text()
    for name, written in re.findall(r"`evengrad\.(\w+)\((.*?)\)`", page):
        if name in ("keras", "lightning", "transformers"):
            continue
        real = inspect.signature(getattr(evengrad, name)).parameters.values()
        names = [p.name for p in real if p.kind is not p.VAR_POSITIONAL]
        parts = re.split(r", (?![^(]*\))", written)
        assert sorted(part.partition("=")[0] for part in parts if part != "*") == sorted(names)
        for part in parts:
            parameter, equals, default = part.partition("=")
            if equals:
                given = next(p.default for p in real if p.name == parameter)
                assert ast.literal_eval(default) == given, (name, parameter)


def test_no_module_gets_in_the_way_of_a_name():
    """`evengrad.check` stays the function, whatever is imported and in which order."""
    modules = [
        one.name
        for one in pkgutil.walk_packages(evengrad.__path__, "evengrad.")
        if not one.name.startswith(("evengrad.adapters.", "evengrad.fixing.worker"))
        and not one.name.endswith("__main__")
    ]
    code = f"""
import importlib, evengrad
names = {{name: getattr(evengrad, name) for name in evengrad.__all__}}
for module in {modules!r}:
    importlib.import_module(module)
wrong = [name for name, found in names.items() if getattr(evengrad, name) is not found]
assert not wrong, wrong
from evengrad.verbs.check import check
assert evengrad.check is check
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("evengrad.check")
    assert callable(evengrad.check)


# --- wrong arguments ----------------------------------------------------------------------------------

torch = pytest.importorskip("torch")


def loss(output, target):
    return ((output - target) ** 2).mean()


BATCH = (torch.randn(8, 4), torch.randn(8, 2))


@pytest.mark.parametrize(
    ("model", "unnamed", "named", "says"),
    [
        (torch.nn.Linear, (), {"batch": BATCH, "loss": loss}, r"the class Linear: make one"),
        (None, (loss, BATCH), {}, r"got function, tuple after it. Name them"),
        (None, (), {"loss": loss}, r"batch=\(inputs, targets\), a pair .* got none"),
        (None, (), {"loss": loss, "batch": BATCH[0]}, r"a pair .* got Tensor"),
        (None, (), {"loss": loss, "batch": (*BATCH, BATCH[1])}, r"a pair, got 3"),
        (None, (), {"batch": BATCH}, r"Expected loss=, a callable .* got None"),
    ],
)
def test_wrong_arguments_of_check(model, unnamed, named, says):
    with pytest.raises(evengrad.CannotCheckError, match=says):
        evengrad.check(model or torch.nn.Linear(4, 2), *unnamed, **named)


# --- how results show themselves --------------------------------------------------------------------

BAD = [
    Finding(f"EG{i}", "too <large> " * 30, Cause.INITIALISATION, Severity.ERROR, ("a", "b"))
    for i in range(101, 140)
]


def results():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        *[layer for _ in range(30) for layer in (torch.nn.Linear(4, 4), torch.nn.Sigmoid())],
        torch.nn.Linear(4, 2),
    )
    check = evengrad.check(model, loss=loss, batch=BATCH)
    forecast = evengrad.forecast(model, (4,))
    return {
        "check": check,
        "check of much": evengrad.Check(check.probe, tuple(BAD)),
        "forecast": forecast,
        "fixing": Fixing(FixPlan("train.py"), "cannot_run", tuple(BAD), message="no <large> step"),
    }


def test_results_fit_a_screen_and_need_no_notebook():
    shown = results()
    for name, result in shown.items():
        assert isinstance(result, Displayed)
        text, page = repr(result), result._repr_html_()
        assert len(text.splitlines()) <= 13, name
        assert max(map(len, text.splitlines())) <= 112, name
        assert page.startswith("<div>")
        assert "<large>" not in page
    assert "EG203 error: Sigmoid shrinks" in repr(shown["check"])
    assert "<li>EG203 error: Sigmoid shrinks" in shown["check"]._repr_html_()
    assert repr(shown["check"]).startswith("Check of Sequential: ")
    assert "... and" in repr(shown["check of much"])
    assert "Forecast of Sequential: gradient below x1e-9 from output" in repr(shown["forecast"])
    assert repr(shown["fixing"]).startswith("Fixing of train.py: cannot run: no <large> step")


def test_a_run_shows_itself(tmp_path):
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with evengrad.watch(model, optimizer, folder=tmp_path) as watched:
        for _ in range(3):
            optimizer.zero_grad()
            loss(model(BATCH[0]), BATCH[1]).backward()
            optimizer.step()
    run = evengrad.load(watched.watching.path)
    assert repr(run).startswith("<Run of run, finished: 3 steps")
    assert run._repr_html_().startswith("<div><b>Run of run: finished, 3 steps, loss ")
    assert evengrad.diagnose(run) == ()
