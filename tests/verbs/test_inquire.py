"""The script is run again as it began, silently, and not for long."""

import os
import random
import time

import numpy as np
import pytest

from evengrad.recording.reader import load
from evengrad.recording.settings import Settings
from evengrad.verbs.births import Script, add_birth
from evengrad.verbs.inquire import Beginnings, inquire
from evengrad.verbs.run_script import run_script

SCRIPT = """
import random, sys
import numpy as np
import torch
weight = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.SGD([weight], lr=0.1)
for step in range(30):
    optimizer.zero_grad()
    drawn = np.random.rand() > 0.3 and random.random() > 0.3
    loss = torch.sqrt(weight.sum() * (1.0 if drawn else -1.0))
    print(loss.item(), file=sys.stderr)
    loss.backward()
    optimizer.step()
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(SCRIPT)
    return "train.py"


def test_it_draws_the_same_numbers_and_the_run_keeps_what_is_found(script, tmp_path, capfd):
    random.seed(None)
    np.random.seed(None)
    said = []
    again = Script(script, [], False, Beginnings(), say=said.append)
    outcome = run_script(script, settings=Settings(folder=tmp_path / "runs"))
    capfd.readouterr()
    found = add_birth(outcome, again)
    assert "".join(capfd.readouterr()) == ""
    run = load(outcome.runs[0])
    assert found is not None
    assert found.step == int(run.steps["step"][-1])
    assert found.values["operation"] == "sqrt"
    assert [fact for fact in run.facts if fact.kind == "born"] == [found]
    assert f"up to step {found.step}" in said[0]


def test_it_is_not_run_again_where_that_is_forbidden(script, tmp_path):
    again = Script(script, [], False, Beginnings(), rerun=False)
    outcome = run_script(script, settings=Settings(folder=tmp_path / "runs"))
    assert add_birth(outcome, again) is None


def test_what_took_long_is_not_run_again_unasked(script):
    said = []
    assert inquire(script, [], module=False, step=3, seconds=500.0, say=said.append) is None
    assert "--rerun" in said[0]


def test_it_ends_in_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(
        "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(99)"
    )
    start = time.monotonic()
    assert inquire("train.py", [], module=False, step=0, seconds=0.1, limit=4.0) is None
    assert time.monotonic() - start < 20
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
