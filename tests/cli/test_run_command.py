"""`evengrad run` on real PyTorch scripts: exit status, words, files."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from evengrad.cli import app
from evengrad.cli.ranking import by_weight
from evengrad.recording import reader
from evengrad.values.finding import Cause, Finding, Severity

_SCRIPT = """
import sys, torch
from torch import nn
torch.manual_seed(0)
print("arguments", sys.argv[1:])
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for number in range(30):
    inputs = torch.randn(16, 4)
    {trouble}
    loss = nn.functional.cross_entropy(model(inputs), (inputs.sum(1) > 0).long())
    optimizer.zero_grad(); loss.backward(); optimizer.step()
print("the script's last line")
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a script with this line of trouble in its loop, and gives the result."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(trouble="pass", *options, arguments=(), script=None):
        (tmp_path / "train.py").write_text(script or _SCRIPT.format(trouble=trouble))
        line = ["run", "train.py", "--no-html", *options]
        return CliRunner().invoke(app, [*line, "--", *arguments] if arguments else line)

    return call


def runs(tmp_path):
    return [reader.load(path) for path in sorted((tmp_path / "runs").iterdir())]


@pytest.mark.parametrize(("name", "extra"), [("keras.layers", "tensorflow"), ("pandas", None)])
def test_what_brings_a_missing_framework_is_said(run, name, extra):
    done = run(script=f"raise ModuleNotFoundError({name!r}, name={name!r})")
    assert done.exit_code == 4
    assert ("pip install" in done.stderr) == (extra is not None)
    assert extra is None or f"pip install 'evengrad[{extra}]'" in done.stderr


def test_healthy(run, tmp_path):
    done = run(arguments=("--epochs", "3"))
    assert done.exit_code == 0, done.output
    assert "arguments ['--epochs', '3']" in done.stdout
    assert done.stdout.index("last line") < done.stdout.index(
        "Finished: nothing found; 30 steps are too few"
    )
    (one,) = runs(tmp_path)
    assert (one.status, len(one.steps["step"])) == ("finished", 30)
    assert f"run:    {one.path.parent.relative_to(tmp_path)}" in done.stdout
    assert "watching Sequential with SGD" in done.stderr


def test_the_guard_stops_it(run, tmp_path):
    done = run('inputs[2, 1] = float("nan") if number == 20 else 0.0')
    assert done.exit_code == 3
    assert "last line" not in done.stdout
    assert "Stopped by the guard at step 20" in done.stdout
    assert "EG801" in done.stdout
    assert "evengrad replay" in done.stderr
    assert "Traceback" not in done.output
    (one,) = runs(tmp_path)
    assert one.status == "stopped"
    seen = CliRunner().invoke(app, ["replay", str(one.path.parent)])
    assert "in rows 2" in seen.stdout


def test_without_a_guard_it_goes_on_and_is_found(run, tmp_path):
    done = run('inputs[2, 1] = float("nan") if number == 20 else 0.0', "--no-guard")
    assert done.exit_code == 1
    assert "last line" in done.stdout
    assert "EG801" in done.stdout


def test_skipping_goes_on(run):
    done = run('inputs[2, 1] = float("nan") if number == 20 else 0.0', "--guard", "skip:3")
    assert done.exit_code == 1
    assert "last line" in done.stdout
    assert "Finished, not healthy" in done.stdout


def test_a_script_that_fails_is_told_from_findings(run, tmp_path):
    done = run('assert number < 5, "mine"')
    assert done.exit_code == 4
    assert "AssertionError: mine" in done.stderr
    assert "evengrad/script.py" not in done.stderr, "its own frames only"
    assert "The script failed after step 4" in done.stdout
    assert run("sys.exit(7 if number == 5 else 0) if number == 5 else None").exit_code == 7
    done = run('sys.exit("why") if number == 5 else None')
    assert (done.exit_code, "why" in done.stderr) == (4, True)
    assert run("sys.exit(1) if number == 5 else None").exit_code == 4, "1 would say: findings"
    assert run("sys.exit(0) if number == 5 else None").exit_code == 0
    assert [one.status for one in runs(tmp_path)] == [*["failed"] * 4, "finished"]


def test_interrupted(run, tmp_path):
    done = run("if number == 8: raise KeyboardInterrupt")
    assert done.exit_code == 130
    assert "Interrupted after step 7" in done.stdout
    assert [one.status for one in runs(tmp_path)] == ["interrupted"]


def test_no_training_seen(run):
    done = run(script="print('nothing trained')")
    assert done.exit_code == 2
    assert "without a training step" in done.stderr


def test_usual_mistakes(run):
    option = run("pass", "--epochs", "3")
    assert option.exit_code == 2
    assert "evengrad run train.py -- --epochs 3" in " ".join(option.stderr.split())
    missing = CliRunner().invoke(app, ["run", "nowhere.py"])
    assert missing.exit_code == 2
    assert "There is no script 'nowhere.py'" in missing.stderr
    for option, value in (("--clip", "nonsense"), ("--guard", "nonsense"), ("--every", "0")):
        bad = run("pass", option, value)
        assert bad.exit_code == 2
        assert "Expected" in bad.stderr
        assert "arguments" not in bad.stdout, "the script does not begin"


def test_files_where_they_are_asked_for(run, tmp_path):
    done = run("pass", "--folder", "elsewhere", "--json", "out/a.json", "--clip", "0.01")
    told = json.loads((tmp_path / "out" / "a.json").read_text())
    assert told["subject"]["settings"]["clip"] == "norm 0.01"
    assert told["figures"]["clip_share"] == 1.0
    assert (tmp_path / "elsewhere").is_dir()
    assert not (tmp_path / "runs").exists()
    assert done.exit_code == 0, "30 steps are too few to call the clip a hidden learning rate"


def test_the_page_lies_beside_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(_SCRIPT.format(trouble="pass"))
    done = CliRunner().invoke(app, ["run", "train.py"])
    (page,) = tmp_path.glob("runs/*/report.html")
    assert str(page.relative_to(tmp_path)) in done.stdout.replace("\n", "")


def test_the_worst_training_is_what_was_asked_for():
    warning = Finding("EG803", "", Cause.BAD_BATCH, Severity.WARNING)
    error = replace(warning, severity=Severity.ERROR)
    found = [(), (warning,), (error,), (replace(error, mistake=True),), ()]
    assert by_weight(found) == [4, 3, 2, 1, 5]


def test_two_optimizers_are_two_runs(run, tmp_path):
    script = _SCRIPT.format(trouble="pass").replace(
        "optimizer.step()", "optimizer.step(); other.step(); other.zero_grad()"
    )
    script = script.replace(
        "for number", "other = torch.optim.Adam([model[2].bias])\nfor number", 1
    ).replace("model.parameters()", "[*model[0].parameters(), model[2].weight]")
    done = run("pass", "--json", "a.json", script=script)
    assert done.exit_code == 0, done.output
    assert {one.subject.optimizer for one in runs(tmp_path)} == {
        "optimizer (SGD)",
        "other (Adam)",
    }
    assert {path.name for path in tmp_path.glob("*.json")} == {"a.json", "a-2.json"}
    trainings = json.loads((tmp_path / "a.json").read_text())["trainings"]
    assert [one["optimizer"] for one in trainings] == ["optimizer (SGD)", "other (Adam)"]
    assert "2 trainings:" in done.stdout
