"""How well a training trains: against the recipe that is known to train."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from evengrad.adapters.torch.probe import probe
from evengrad.fixing.case import Candidate, Case
from evengrad.fixing.changes.add_normalisation import AddNormalisation
from evengrad.fixing.changes.initialise import Initialise
from evengrad.fixing.changes.inputs import StandardiseInputs
from evengrad.fixing.changes.use_optimizer import UseOptimizer
from evengrad.fixing.outcome import Attempt
from evengrad.fixing.reference import references
from evengrad.fixing.trial import Result
from evengrad.fixing.verdict import Verdict
from evengrad.fixing.yardstick import by_rank, is_plain_success, yardstick
from evengrad.values.finding import Cause


def attempt(level, invasiveness=1, good=True, baseline=2.3, floor=0.0, first=2.3):
    losses = tuple(np.linspace(first, level, 40))
    result = Result("budget", losses, (1.0,) * 40, baseline=baseline, floor=floor)
    candidate = Candidate("x", (), Cause.LEARNING_RATE, invasiveness, f"to {level:g}")
    return Attempt(candidate, 0, False, result, Verdict(good, good, level, ""))


def test_how_far_on_the_way():
    way = yardstick(attempt(0.3))
    assert way.share(2.3) == 0
    assert way.share(0.3) == pytest.approx(1)
    assert way.share(1.3) == pytest.approx(0.5)
    assert way.share(math.nan) == -math.inf
    assert yardstick(attempt(0.3, good=False)) is None
    assert yardstick(attempt(2.5)) is None
    unknown = yardstick(attempt(0.3, baseline=None, first=4.0))
    assert unknown.start == pytest.approx(4.0)


def test_where_no_reference_need_be_asked():
    assert is_plain_success(attempt(1.0))
    assert not is_plain_success(attempt(1.3))
    assert not is_plain_success(attempt(1.0, baseline=None))
    assert not is_plain_success(attempt(1.0, floor=None))
    assert not is_plain_success(attempt(1.0, good=False))


def test_the_least_invasive_within_the_margin_of_the_best():
    best, near, far = attempt(0.3, 6), attempt(0.4, 2), attempt(2.1, 1)
    assert by_rank([far, best, attempt(0.1, good=False), near], None) == [near, best, far]
    assert by_rank([], None) == []


def sick(depth, scale=1.0, shift=0.0, optimizer=torch.optim.SGD, rate=0.1, norm=False):
    torch.manual_seed(0)
    layers = []
    for _ in range(depth):
        layer = nn.Linear(32, 32)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        layer.weight.data *= scale
        nn.init.zeros_(layer.bias)
        layers += [layer, *([nn.BatchNorm1d(32)] if norm else []), nn.ReLU()]
    last = nn.Linear(32, 4)
    nn.init.normal_(last.weight, std=32**-0.5)
    model = nn.Sequential(*layers, last)
    measured = probe(
        model,
        batch=(torch.randn(64, 32) * (1 + shift) + shift, torch.randint(4, (64,))),
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer(model.parameters(), rate),
        rate=False,
    )
    return Case(measured, (), Result("budget"), 200)


def kinds(case):
    return [{type(change) for change in found.changes} for found in references(case)]


def test_the_recipe_has_what_the_training_lacks():
    assert kinds(sick(2)) == [{UseOptimizer}]
    assert kinds(sick(2, scale=3.0)) == [{Initialise, UseOptimizer}]
    assert kinds(sick(2, shift=100.0)) == [{StandardiseInputs, UseOptimizer}]
    deep, plain = kinds(sick(8, scale=3.0))
    assert deep - plain == {AddNormalisation}
    assert not any(AddNormalisation in found for found in kinds(sick(8, norm=True)))
    assert kinds(sick(2, optimizer=torch.optim.Adam, rate=1e-3)) == []
    assert kinds(sick(2, optimizer=torch.optim.Adam, rate=1e-2)) == [{UseOptimizer}]
    assert references(Case(None, (), Result("budget"), 200)) == ()
