"""Which training of a script goes wrong by its rate, and that rate in the source."""

from __future__ import annotations

import textwrap

import here
import pytest

from evengrad.fixing.later import Later, candidates, later
from evengrad.fixing.trial import Trial

TWO = """
    import torch
    from torch import nn
    torch.manual_seed(0)
    x = torch.randn(1024, 16)
    y = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
    body = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    model = nn.Sequential(body, nn.Linear(64, 4))


    def train(parameters, lr):
        optimizer = torch.optim.Adam(parameters, lr=lr)
        for _ in range(4):
            for rows in torch.randperm(1024).split(32):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()


    train(model.parameters(), 3e-3)
    train(model.parameters(), {rate})
"""


def written(folder, rate):
    script = folder / "train.py"
    script.write_text(textwrap.dedent(TWO).format(rate=rate))
    return script


def test_a_later_training_that_its_rate_destroys_is_found(tmp_path):
    script = written(tmp_path, "0.5")
    trial = Trial(str(script), steps=10**9)
    result = here.execute(trial, tmp_path / "sick", str(tmp_path))
    assert result.unhealthy
    assert later(result) == Later(1, 0.5)
    tried = next(iter(candidates(script.read_text(), Later(1, 0.5))))
    assert "train(model.parameters(), 0.05)" in tried.source
    assert (tried.training, tried.changes) == (1, ())
    slow = Trial(str(script), steps=10**9, source=tried.source.replace("0.05", "0.003"), training=1)
    result = here.execute(slow, tmp_path / "slow", str(tmp_path))
    assert result.end == "finished"
    assert not result.unhealthy
    assert later(result) is None
    assert result.losses[0] < 1.0  # it begins where the first training ended


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("a(Adam(1e-2))\nb(Adam(learning_rate=5e-2))\nc(0.05)", "b(Adam(learning_rate=0.005))"),
        ("train(x, 0.05, 3)\ntrain(x, 5e-2, 3)", "train(x, 0.05, 3)\ntrain(x, 0.005, 3)"),
        ("RATE = .05\nfit(RATE)", "RATE = 0.005\nfit(RATE)"),
    ],
)
def test_the_rate_where_the_script_has_it(source, wanted):
    first, *others = candidates(source, Later(2, 0.05))
    assert wanted in first.source
    assert len(others) == 2


def test_a_rate_that_the_script_does_not_spell():
    assert not list(candidates("fit(rate())", Later(1, 0.05)))
