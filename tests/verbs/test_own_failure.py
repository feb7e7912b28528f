"""A failure of our own is said in one line, with what to report; it is never the script's, nor a verdict."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from evengrad.adapters.torch import live, script
from evengrad.adapters.torch.measure.measure import Measurement
from evengrad.adapters.torch.tap.tap import OptimizerTap
from evengrad.cli import app
from evengrad.errors import InternalError
from evengrad.recording import failure
from evengrad.recording.session import Watching
from evengrad.verbs.check_script import probe_script

_SCRIPT = """
import torch
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for number in range(30):
    inputs = torch.randn(16, 4)
    loss = nn.functional.cross_entropy(model(inputs), (inputs.sum(1) > 0).long())
    optimizer.zero_grad(); loss.backward(); optimizer.step()
print("the script's last line")
"""


def planted(*_, **__):
    raise AttributeError("planted")


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def invoke(verb, text=_SCRIPT):
        Path("train.py").write_text(text)
        return CliRunner().invoke(app, [verb, "train.py", "--no-html"])

    return invoke


def expect_one_line(done):
    """Exit status 2; the line names the versions and the file, which has the traceback."""
    assert done.exit_code == 2, done.output
    lines = [line for line in done.stderr.splitlines() if "evengrad itself failed" in line]
    assert len(lines) == 1, done.stderr
    assert "AttributeError: planted" in lines[0]
    assert f"torch {torch.__version__}" in lines[0]
    assert "Python 3." in lines[0]
    file = re.search(r"traceback in (\S+\.txt)", lines[0])
    assert file is not None, lines[0]
    assert "in planted" in Path(file[1]).read_text()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (script, "arm"),
        (script, "coming_update"),
        (Measurement, "__init__"),
        (Measurement, "run"),
        (Measurement, "assemble"),
    ],
)
def test_check(call, monkeypatch, owner, name):
    monkeypatch.setattr(owner, name, planted)
    done = call("check")
    if name == "coming_update":  # costs one figure, with a note
        assert done.exit_code == 0, done.output
        assert "planted" in done.output
        return
    expect_one_line(done)
    assert "last line" not in done.stdout


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (live, "arm"),
        (OptimizerTap, "__init__"),
        (OptimizerTap, "start"),
        (Watching, "_keep"),
        (Watching, "__init__"),
    ],
)
def test_run_goes_on_to_the_scripts_end(call, monkeypatch, owner, name):
    monkeypatch.setattr(owner, name, planted)
    done = call("run")
    expect_one_line(done)
    assert "the script's last line" in done.stdout
    assert "without a training step" not in done.stderr


def test_a_script_that_fails_itself_is_the_more_important_news(call, monkeypatch):
    monkeypatch.setattr(OptimizerTap, "start", planted)
    done = call("run", _SCRIPT + "\nraise ValueError('mine')")
    assert done.exit_code == 4
    assert "evengrad itself failed" in done.stderr
    assert "ValueError: mine" in done.stderr


def test_the_scripts_own_backward_that_fails_is_no_failure_of_ours(call):
    line = "optimizer.zero_grad(); loss.backward();"
    inplace = "    loss = loss * model[0].weight.pow(2).sum()\n    with torch.no_grad(): model[0].weight.add_(1)\n"  # noqa: E501
    text = _SCRIPT.replace(f"    {line}", f"{inplace}    {line}")
    done = call("check", text)
    assert "modified by an inplace operation" in done.stderr
    assert "evengrad itself failed" not in done.stderr
    assert done.exit_code == 2


@pytest.mark.parametrize("verb", ["check", "run"])
@pytest.mark.parametrize(
    "mistake",
    [
        "model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(9, 2))",  # shapes, in C
        "model(torch.randn(3, 4)) @ torch.randn(7, 7)",
        "torch.zeros(3).reshape(2)",
        "torch.cat([torch.zeros(2), torch.zeros(2, 2)])",
        "torch.zeros(3)[5]",
        "torch.ones(2, requires_grad=True).backward()",
        "optimizer.step(lambda: 1 / 0)",
        "torch.nn.init.kaiming_normal_(torch.zeros(3))",
        "torch.optim.SGD([torch.zeros(1)], lr=-1.0)",
    ],
)
def test_the_scripts_own_mistakes_are_no_failures_of_ours(call, verb, mistake):
    """Though wrappers of ours are the last Python frames above what is written in C."""
    done = call(verb, _SCRIPT.replace("for number", f"{mistake}\nfor number"))
    assert "itself failed" not in done.stderr
    assert "Traceback" in done.stderr or "Expected" in done.stderr or "scalar" in done.stderr
    assert done.exit_code == {"check": 2, "run": 4}[verb]


def test_what_a_line_of_ours_raises_into_the_script(tmp_path, monkeypatch):
    """Not the script's failure, although it came out of the script."""
    from evengrad.adapters.torch.record.record import Recorder

    def fault(*_, **__):
        raise KeyError("planted")

    fault.__code__ = fault.__code__.replace(co_filename=failure.__file__)
    monkeypatch.setattr(Recorder, "__torch_function__", fault)
    path = tmp_path / "train.py"
    path.write_text(_SCRIPT)
    with pytest.raises(InternalError, match="measuring this script"):
        probe_script(str(path))


def test_wrong_settings_are_no_failure_of_ours(caplog):
    from evengrad.errors import EvengradError

    failure.tell(EvengradError("no second moment"))
    assert "cannot watch this training (no second moment)" in caplog.text
    assert "itself failed" not in caplog.text


def test_a_traceback_that_cannot_be_written(monkeypatch):
    monkeypatch.setattr("tempfile.NamedTemporaryFile", _full)
    assert "could not be written" in str(failure.internal("here", ValueError("x" * 1000 + "\n\n")))


def _full(*_, **__):
    raise OSError("disk full")


def test_a_command_that_fails(call, monkeypatch):
    monkeypatch.setattr("evengrad.report.text.panel", planted)
    done = call("check")
    expect_one_line(done)
    assert "in `evengrad check`" in done.stderr
