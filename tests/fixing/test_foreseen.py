"""Which initialisation is tried first: by the forecast of the user's own network."""

import math

import pytest
import torch
from torch import nn

from evengrad.adapters.torch.probe import probe
from evengrad.fixing.case import Case
from evengrad.fixing.changes.activation import Activation
from evengrad.fixing.changes.initialise import Initialise
from evengrad.fixing.foreseen import growth
from evengrad.fixing.remedies import candidates
from evengrad.fixing.trial import Result
from evengrad.theory.criticality import critical
from evengrad.theory.shaping import tailored
from evengrad.values.finding import Cause, Finding, Severity, Symptom


def deep(depth, activation=nn.Tanh, width=256):
    """A case: PyTorch's own weights, with which the gradient vanishes by depth."""
    torch.manual_seed(0)
    layers = [p for _ in range(depth) for p in (nn.Linear(width, width), activation())]
    model = nn.Sequential(*layers, nn.Linear(width, 1))
    batch = torch.randn(16, width), torch.randn(16, 1)
    measured = probe(model, batch=batch, loss=nn.MSELoss(), rate=False)
    symptom = Finding("", "", Cause.INITIALISATION, Severity.ERROR, symptom=Symptom.VANISHING)
    return Case(measured, (symptom,), Result("budget"), 100)


@pytest.fixture(scope="module")
def tanh():
    return deep(30)


def test_a_deep_tanh_network_gets_critical_weights_first(tanh):
    names = [c.remedy for c in candidates(tanh, ["initialisation", "critical", "shaped"])]
    assert names == ["critical", "initialisation", "shaped", "shaped"]
    first, second = candidates(tanh, ["initialisation", "critical"])
    hidden = math.log(1.592537**2 * 0.464403) / 2  # of a layer whose weights keep the variance at 1
    assert growth(tanh.probe.spec, second.changes) == pytest.approx(29 * hidden, abs=0.4)
    assert abs(growth(tanh.probe.spec, first.changes)) < 0.5


def test_a_shallow_one_is_left_to_independent_weights():
    names = [c.remedy for c in candidates(deep(4), ["initialisation", "critical", "shaped"])]
    assert names == ["initialisation"]


def test_what_is_proposed_is_what_theory_says(tanh):
    (found,) = candidates(tanh, ["critical"])
    gain, bias, q = critical("tanh", 30)
    first, hidden, last = found.changes
    assert hidden == Initialise(hidden.layers, "tanh", gain, "orthogonal", bias)
    assert len(hidden.layers) == 29
    size = tanh.probe.inputs[0].value.rms
    assert (first.gain * size) ** 2 + bias**2 == pytest.approx(q)  # it stands still from there on
    assert last.gain**2 * (q - bias**2) / gain**2 == pytest.approx(1)
    shaped, _ = candidates(tanh, ["shaped"])
    assert shaped.changes[0] == Activation("tanh", "tanh", None, tuple(tailored("tanh", 30)))
    assert {c.gain for c in shaped.changes[1:]} == {1.0}


def test_shaped_activations_are_forecast_as_even():
    case = deep(30, nn.GELU)
    tat, dks = candidates(case, ["shaped"])
    assert abs(growth(case.probe.spec, tat.changes)) < 0.3
    assert growth(case.probe.spec, dks.changes) == pytest.approx(math.log(1.5) / 2, abs=0.3)
