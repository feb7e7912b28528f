"""What a torch training is to learn, as its first steps show it, against plain arithmetic."""

from __future__ import annotations

import hashlib
import math
import runpy

import numpy as np
import pytest
import torch

from evengrad.recording.reader import load
from evengrad.recording.settings import Settings
from evengrad.verbs.run_script import run_script

HEAD = """
import torch
from torch import nn
from torch.nn import functional as F
torch.manual_seed(0)
x = torch.randn(300, 5) * SCALE
y = (torch.rand(300) * 3).long()
model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""
LOOP = """
for start in range(0, 300, 20):
    optimizer.zero_grad()
    loss = LOSS
    loss.backward()
    optimizer.step()
"""
PLAIN = "F.cross_entropy(model(x[start:start + 20]), y[start:start + 20])"


def seen(folder, source, **changes):
    script = folder / "train.py"
    for name, value in {"SCALE": "1.0", "LOSS": PLAIN, **changes}.items():
        source = source.replace(name, value)
    script.write_text(source)
    outcome = run_script(str(script), settings=Settings(folder=folder / "runs"))
    assert outcome.error is None, outcome.error
    return [load(path).seen for path in outcome.runs]


def entropy(labels):
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-(shares * np.log(shares)).sum())


def data():
    torch.manual_seed(0)
    return torch.randn(300, 5).numpy(), (torch.rand(300) * 3).long().numpy()


def test_a_classifiers_baseline_and_inputs(tmp_path):
    (found,) = seen(tmp_path, HEAD + LOOP, SCALE="3.0")
    x, y = data()
    assert found["objective"] == ["crossentropy"]
    assert found["baseline"] == pytest.approx(entropy(y))
    assert (found["target_low"], found["target_high"]) == (0, 2)
    first = 3 * x[:20]
    assert found["input_rms"] == pytest.approx(math.sqrt((first**2).mean()), rel=1e-4)
    assert found["input_largest"] == pytest.approx(np.abs(first).max(), rel=1e-4)
    assert "interleaved" not in found


@pytest.mark.parametrize(
    ("loss", "factor"),
    [
        ("nn.MSELoss()(model(x[start:start + 20])[:, 0], y[start:start + 20].float())", "mse"),
        ("F.l1_loss(model(x[start:start + 20])[:, 0], y[start:start + 20].float())", "mae"),
        (PLAIN + " / 4", 0.25),
        (PLAIN + " + 1e-3 * sum(p.square().sum() for p in model.parameters())", None),
        ("(model(x[start:start + 20])[:, 0] - y[start:start + 20]).square().mean()", "unseen"),
    ],
    ids=["mse", "mae", "a quarter", "penalty", "by hand"],
)
def test_other_losses(tmp_path, loss, factor):
    (found,) = seen(tmp_path, HEAD + LOOP, LOSS=loss)
    y = data()[1].astype(float)
    if factor == "unseen":
        assert "baseline" not in found
    elif factor is None:
        assert found["baseline"] is None
    else:
        expected = {"mse": y.var(), "mae": np.abs(y - np.median(y)).mean()}
        plain = expected[factor] if factor in expected else factor * entropy(y)
        assert found["baseline"] == pytest.approx(plain)


@pytest.mark.parametrize("divided", [False, True])
def test_the_losses_of_a_step_are_compared_as_the_run_shows_them(tmp_path, divided):
    loop = """
for start in range(0, 300, 20):
    optimizer.zero_grad()
    for part in range(0, 20, 10):
        rows = slice(start + part, start + part + 10)
        (F.cross_entropy(model(x[rows]), y[rows]) SCALED).backward()
    optimizer.step()
"""
    script = HEAD + loop.replace("SCALED", "/ 2" if divided else "* 1.0")
    (found,) = seen(tmp_path, script)
    (run,) = [load(path) for path in (tmp_path / "runs").iterdir()]
    first = float(run.steps["loss"][0])
    assert 0.5 < first / found["baseline"] < 2
    assert found["baseline"] == pytest.approx(entropy(data()[1]) * (1 if first < 1.7 else 2))


def test_labels_that_come_sorted_have_no_baseline(tmp_path):
    (found,) = seen(tmp_path, HEAD + "y = y.sort().values\n" + LOOP)
    assert found["baseline"] is None


def test_two_that_take_turns_are_told(tmp_path):
    other = "other = nn.Linear(5, 3)\nsecond = torch.optim.Adam(other.parameters())\n"
    turns = LOOP + "    F.cross_entropy(other(x), y).backward()\n    second.step()\n"
    first, second = seen(tmp_path, HEAD + other + turns)
    assert first["interleaved"]
    assert second["interleaved"]
    joint = "second = torch.optim.SGD([model[0].bias], lr=0.1)\n" + LOOP + "    second.step()\n"
    first, second = seen(tmp_path, HEAD + joint)
    assert "interleaved" not in first
    assert first["baseline"] == second["baseline"] == pytest.approx(entropy(data()[1]))


def test_no_bit_of_the_training_changes_and_hooks_of_others_live(tmp_path, monkeypatch):
    ends = """
from torch.optim.optimizer import register_optimizer_step_post_hook
calls = []
for epoch in range(4):
    for start in range(0, 300, 20):
        optimizer.zero_grad()
        F.cross_entropy(model(x[start:start + 20]), y[start:start + 20]).backward()
        optimizer.step()
    if not calls:
        hook = register_optimizer_step_post_hook(lambda *_: calls.append(1))
hook.remove()
weights = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
import pathlib
pathlib.Path("TO").write_bytes(weights)
"""
    to = str(tmp_path / "weights")
    hashes = []
    for watched in (False, True):
        source = (HEAD + ends).replace("TO", to)
        if watched:
            seen(tmp_path, source)
        else:
            script = tmp_path / "plain.py"
            script.write_text(source.replace("SCALE", "1.0"))
            runpy.run_path(str(script), run_name="__main__")
        hashes.append(hashlib.sha256((tmp_path / "weights").read_bytes()).hexdigest())
    assert hashes[0] == hashes[1]
