"""What a trial's process makes of what the watch tells it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from types import SimpleNamespace

import here
import numpy as np
import pytest

from evengrad.diagnosis.fact_rules import losses_crossed
from evengrad.fixing import worker
from evengrad.fixing.trial import Trial
from evengrad.fixing.worker import _TrialRun
from evengrad.recording.reader import load
from evengrad.values.fact import Fact
from evengrad.values.run import EventKind, event_of

KEPT = {"optimizer": "optimizer", "steps": 3, "how": "kept"}


@pytest.mark.parametrize(
    ("without", "kind", "ends"),
    [
        ("gradients_kept", "gradients_kept", True),
        ("shapes_broadcast", "gradients_kept", False),
    ],
)
def test_a_trial_ends_where_it_meets_the_mistake_that_it_is_to_be_without(without, kind, ends):
    trial = _TrialRun(Trial("train.py", without=without))
    assert not trial.stepped()
    trial.event(event_of(Fact(kind, None, 0, KEPT)))
    assert trial.stepped() is ends


def test_a_script_that_is_sick_by_a_mistake_need_not_go_on_for_long():
    trial = _TrialRun(Trial("train.py", steps=200))
    assert not trial.stepped()
    trial.event(event_of(Fact("gradients_kept", None, 0, KEPT)))
    assert [trial.stepped() for _ in range(41)].index(True) == 39
    repaired = _TrialRun(Trial("train.py", steps=200, source="pass"))
    repaired.event(event_of(Fact("gradients_kept", None, 0, KEPT)))
    assert not any(repaired.stepped() for _ in range(199))


@pytest.mark.parametrize(
    ("passed", "worked", "late"),
    [(59, 59, False), (61, 20, False), (61, 61, True), (179, 20, False), (181, 20, True)],
)
def test_patience_is_with_what_shares_its_machine(monkeypatch, passed, worked, late):
    trial, now = _TrialRun(Trial("train.py", steps=10**9, seconds=60.0)), [0.0, 0.0]
    monkeypatch.setattr(worker, "_now", lambda: tuple(now))
    trial.started()
    now[:] = passed, worked
    assert trial.stepped() is late


def test_what_a_rule_does_not_call_a_mistake_ends_nothing():
    trial = _TrialRun(Trial("train.py", without="evaluation_apart"))
    values = {"training": 1.0, "evaluation": 1.1, "baseline": 2.3, "layers": [], "kind": ""}
    trial.event(event_of(Fact("evaluation_apart", None, None, values)))
    assert not trial.stepped()


NORMALISED = """
    import torch
    from torch import nn
    torch.manual_seed(0)
    x = 9 + 3 * torch.randn(512, 12)
    y = x[:, :3].argmax(1)
    model = nn.Sequential(
        nn.Linear(12, 32), nn.BatchNorm1d(32, momentum={momentum}), nn.ReLU(),
        nn.Linear(32, 32), nn.BatchNorm1d(32, momentum={momentum}), nn.ReLU(), nn.Linear(32, 3),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(80):
        rows = torch.randint(0, 512, (64,))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
"""


@pytest.mark.parametrize(("momentum", "well"), [(0.1, True), (0.001, False)])
def test_an_error_at_the_scripts_own_end_is_not_healthy(tmp_path, momentum, well):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(NORMALISED).format(momentum=momentum))
    result = here.execute(Trial(str(script), steps=10**9), tmp_path / "trial", str(tmp_path))
    assert result.end == "finished"
    assert (not result.unhealthy) is well, result.unhealthy


def test_nothing_is_told_of_the_copy_that_the_closing_probe_steps(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(losses_crossed.SICK[0].source)
    result = here.execute(Trial(str(script), steps=10), tmp_path / "trial", str(tmp_path))
    assert result.end == "budget"
    assert {fact.kind for fact in load(Path(result.run)).facts} == {"losses_crossed"}


def test_a_trial_that_is_over_inside_a_callback_of_jax(tmp_path):
    """Which makes an error of its own of it, with ours in its text."""
    script = tmp_path / "train.py"
    script.write_text("raise RuntimeError('CpuCallback error: TrialOverError')\n")
    assert worker.perform(Trial(str(script)), tmp_path).end == "unseen"


def test_steps_that_a_loss_scaler_skips_while_it_searches_are_none():
    events = (SimpleNamespace(kind=EventKind.SCALER),)
    applied = np.array([0, 0, 1, 0, 1])
    assert worker._begins(SimpleNamespace(events=events, steps={"applied": applied})) == 2
    assert worker._begins(SimpleNamespace(events=(), steps={"applied": applied})) == 0
    assert worker._begins(SimpleNamespace(events=events, steps={"applied": 0 * applied})) == 0
