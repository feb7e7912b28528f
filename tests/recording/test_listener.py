"""A listener is given all that happens; one that raises is told of, once, and ends nothing."""

import logging

import pytest
import torch
from recorded import record
from torch import nn

import evengrad
from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.recording.reader import load
from evengrad.values.run import EventKind

STOPPED = Scenario(steps=60, every=7, refused=EventKind.NON_FINITE, status="stopped", spikes=(40,))


class Listener:
    """Keeps what it is given; raises in one of its methods."""

    def __init__(self, fails=None):
        self.fails = fails
        self.given = []

    def _call(self, name, *values):
        self.given.append((name, *values))
        if name == self.fails:
            raise ZeroDivisionError("my own fault")

    def begin(self, subject, path):
        self._call("begin", subject, path)

    def step(self, step):
        self._call("step", step)

    def detail(self, detail):
        self._call("detail", detail)

    def event(self, event):
        self._call("event", event)

    def end(self, status):
        self._call("end", status)

    def named(self, name):
        return [values[0] for called, *values in self.given if called == name]


def test_it_is_given_what_the_run_file_holds(tmp_path):
    listener = Listener()
    watching = record(STOPPED, tmp_path, listener=listener)
    run = load(watching.path)
    assert listener.given[0] == ("begin", STOPPED.subject, watching.path)
    assert listener.given[-1] == ("end", "stopped")
    assert [step.step for step in listener.named("step")] == list(range(60))
    assert {d.step for d in listener.named("detail")} == set(run.details["step"].tolist())
    given = listener.named("event")
    assert [(e.step, e.message) for e in given] == [(e.step, e.message) for e in run.events]
    assert {EventKind.SPIKE, EventKind.NON_FINITE} < {event.kind for event in run.events}


@pytest.mark.parametrize("fails", ["begin", "step", "detail", "event", "end"])
def test_one_that_raises_is_called_no_more_and_the_watch_goes_on(fails, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "evengrad")
    listener = Listener(fails)
    watching = record(STOPPED, tmp_path / "one", listener=listener)
    assert [name for name, *_ in listener.given].index(fails) == len(listener.given) - 1
    told = [line for line in caplog.messages if "my own fault" in line]
    assert len(told) == 1
    assert f"Listener raised ZeroDivisionError in {fails} (my own fault)" in told[0]
    assert not watching.off
    run, plain = load(watching.path), load(record(STOPPED, tmp_path / "two").path)
    assert run.status == plain.status == "stopped"
    assert [e.kind for e in run.events] == [e.kind for e in plain.events]
    assert run.steps["norm"].tolist()[:-1] == plain.steps["norm"].tolist()[:-1]


def train(watched, listener=None):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = evengrad.watch(model, optimizer, folder=None, listener=listener) if watched else None
    for _ in range(12):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
    if handle is not None:
        handle.remove()
        assert not handle.watching.off
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("fails", [None, "begin", "step", "detail", "end"])
def test_a_torch_training_is_not_changed_by_it(fails, caplog):
    listener = Listener(fails)
    for left, right in zip(train(False), train(True, listener), strict=True):
        assert torch.equal(left, right)
    assert caplog.text.count("my own fault") == (fails is not None)
    if fails is None:
        assert [step.step for step in listener.named("step")] == list(range(12))
        assert [detail.step for detail in listener.named("detail")] == [*range(10), 10]
        assert listener.given[-1] == ("end", "finished")
