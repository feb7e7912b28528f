"""Activations are heard by one function mode a thread, and no longer than an optimizer lives."""

import gc
import threading
import weakref

import pytest
import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack

import evengrad
from evengrad.adapters.torch import live
from evengrad.adapters.torch.tap.hearing import ThreadMode
from evengrad.recording.session import Watching
from evengrad.recording.settings import Settings

STEPS = 3


class Live:
    """What a live door reports to."""

    script, closed = "train.py", False

    def __init__(self, folder):
        self.settings = Settings(every=1, clip=None, guard=None, folder=folder)
        self.runs = []

    def watching(self, subject):
        self.runs.append(Watching(self.settings, subject))
        return self.runs[-1]

    def trouble(self, error):
        raise error


def net(units=5):
    return nn.Sequential(nn.Linear(4, units), nn.ReLU(), nn.Linear(units, 1))


def step(model, optimizer):
    optimizer.zero_grad()
    model(torch.randn(8, 4)).square().mean().backward()
    optimizer.step()


def modes():
    return len(_get_current_function_mode_stack())


def heard(run):
    """The steps in which the activation was."""
    run.end("finished")
    found = evengrad.load(run.path)
    assert found.layers == ("1",)
    return found.samples["step"][found.samples["layer"] == 0].tolist()


@pytest.fixture
def session(tmp_path):
    found = Live(tmp_path)
    armed = live.arm(found)
    found.disarm = armed.disarm
    yield found
    armed.disarm()
    assert modes() == 0


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def test_two_trainings_in_turn_are_heard_and_leave_no_mode(session):
    models = [net(), net(6)]
    optimizers = [sgd(model) for model in models]
    assert modes() == 1
    for _ in range(STEPS):
        for model, optimizer in zip(models, optimizers, strict=True):
            step(model, optimizer)
    session.disarm()
    assert modes() == 0
    assert [heard(run) for run in session.runs] == [list(range(STEPS))] * 2


def test_optimizers_that_never_step_end_when_they_are_dropped(session):
    model = net()
    idle = [sgd(model) for _ in range(5)]
    assert modes() == 1
    gone = [weakref.ref(optimizer) for optimizer in idle]
    optimizer = sgd(model)
    step(model, optimizer)
    idle.clear()
    gc.collect()
    assert [ref() for ref in gone] == [None] * 5
    session.disarm()
    assert len(session.runs) == 1
    assert heard(session.runs[0]) == [0]


def test_an_optimizer_that_steps_in_another_thread(session):
    model = net()
    optimizer = sgd(model)
    failures = []

    def work():
        try:
            for _ in range(STEPS):
                step(model, optimizer)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failures
    session.disarm()
    assert heard(session.runs[0]) == list(range(1, STEPS))


def test_an_optimizer_that_steps_inside_the_backward_pass(session):
    model = net()
    optimizer = sgd(model)
    model[0].weight.register_post_accumulate_grad_hook(lambda _: optimizer.step())
    for _ in range(STEPS):
        model(torch.randn(8, 4)).square().mean().backward()
    session.disarm()
    assert modes() == 0
    assert heard(session.runs[0]) == list(range(STEPS))


class Failing:
    """Fails at the first call that it is told of, by whichever way."""

    def __init__(self):
        self.told = 0

    def fail(self, *_):
        self.told += 1
        raise RuntimeError("ours")

    before = after = hear_call = hear = fail


@pytest.mark.parametrize("tell", ["add", "add_losses", "tell_all"])
def test_a_listener_that_fails_ends_no_call_of_the_scripts(tell, caplog):
    listener, mode = Failing(), ThreadMode()
    getattr(mode, tell)(listener)
    try:
        x = torch.tensor([-1.0, 2.0], requires_grad=True)
        found = torch.relu(torch.relu(x))
    finally:
        mode.drop(listener)
        mode.tell_all(None)
        mode.rest()
    assert found.tolist() == [0.0, 2.0]
    assert listener.told == 1
    assert [r.message for r in caplog.records] == ["evengrad: Failing listens no more: ours"]
