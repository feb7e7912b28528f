"""What is changed in a run that went wrong, and what follows from what prevents it."""

import json
import math
import threading

import here
import numpy as np
import pytest
from typer.testing import CliRunner

import evengrad
from evengrad.cli import app
from evengrad.errors import EvengradError
from evengrad.fixing.what_if import Answer, Question, conclusion, questions, what_if

NAMES = ("rate", "clip", "batch", "seed", "precision")


def answers(*prevented, same=True, base="again"):
    losses = (1.0, 0.5, math.nan)
    found = [
        Answer(Question("as it was", ""), base, 2, 3, math.nan, losses=losses),
        Answer(
            Question("as it was", "again"),
            base,
            2 if same else 7,
            3,
            math.nan,
            losses=losses if same else (1.0, 0.4),
        ),
    ]
    for name in NAMES:
        outcome = "prevented" if name in prevented else "again"
        found.append(Answer(Question(name, name), outcome, 2, 3, 1.0))
    return found


@pytest.mark.parametrize(
    ("prevented", "told"),
    [
        (["batch"], "look at its batch"),
        (["rate", "clip"], "the steps are too large"),
        (["precision"], "half precision"),
        (["seed"], "order of the data"),
        ([], "none of these changes prevents it"),
    ],
)
def test_what_prevents_it_is_the_cause(prevented, told):
    text = conclusion(answers(*prevented))
    assert told in text
    assert "reproducible" in text
    others = {"batch": "look at its batch", "rate": "too large", "precision": "half precision"}
    assert not any(words in text for name, words in others.items() if name not in prevented)


def test_what_is_not_reproducible_has_no_cause():
    text = conclusion(answers("rate", same=False))
    assert "not reproducible" in text
    assert "too large" not in text


def test_what_does_not_happen_again():
    assert "did not happen again" in conclusion(answers(base="prevented"))
    assert "could not be run again" in conclusion(answers(base="not tried"))


SCRIPT = """
import torch
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for number in range(40):
    x = torch.randn(16, 4)
    x[3, 2] = float("inf") if number == 12 else x[3, 2]
    loss = nn.functional.cross_entropy(net(x), (x.sum(1) > 0).long())
    optimizer.zero_grad(); loss.backward(); optimizer.step()
"""


ALONE = threading.Lock()


def one_at_a_time(*given):
    with ALONE:
        return here.execute(*given)


def test_a_broken_batch(tmp_path, monkeypatch):
    """From the script to the words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("evengrad.fixing.what_if.execute", one_at_a_time)
    (tmp_path / "train.py").write_text(SCRIPT)
    CliRunner().invoke(app, ["run", "train.py", "--no-html", "--no-rerun"])
    (folder,) = (tmp_path / "runs").iterdir()
    asked = list(questions(evengrad.load(folder), 12))
    assert [q.key for q in asked] == ["as it was", "as it was", *NAMES]
    assert asked[2].changes[0].value == pytest.approx(0.01)
    steps = evengrad.load(folder).steps
    assert asked[3].changes[0].bound == pytest.approx(np.median(steps["norm"][:12]))
    done = CliRunner().invoke(app, ["replay", str(folder), "--what-if", "--json", "found.json"])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "found.json").read_text())
    outcomes = {a["question"]: (a["outcome"], a["refused"]) for a in found["answers"]}
    assert outcomes["as it was"] == outcomes["rate"] == outcomes["clip"] == ("again", 12)
    assert outcomes["batch"] == ("prevented", 12)
    assert outcomes["seed"] == ("again", 12)
    assert outcomes["precision"][0] == "not tried"
    assert "look at its batch" in found["conclusion"]
    assert found["conclusion"] in done.stdout


def test_a_run_of_no_script(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with evengrad.watch(net, optimizer, folder=tmp_path):
        net(torch.ones(3, 2)).sum().backward()
        optimizer.step()
    (folder,) = tmp_path.iterdir()
    with pytest.raises(EvengradError, match="which script"):
        what_if(evengrad.load(folder), 0, tmp_path / "trials")
