"""What remedies propose, by what is known of a sick training."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from evengrad import fixing
from evengrad.adapters.torch.probe import probe
from evengrad.diagnosis import rules, run_rules
from evengrad.fixing import remedies
from evengrad.fixing.case import Case
from evengrad.fixing.changes.initialise import Initialise
from evengrad.fixing.changes.rate_by_loss import RateByLoss
from evengrad.fixing.changes.set_rate import SetRate
from evengrad.fixing.outcome import FixPlan
from evengrad.fixing.remedies import candidates
from evengrad.fixing.search import ByDiagnosis
from evengrad.fixing.trial import Result
from evengrad.values.finding import Cause, Finding, Severity, Symptom
from evengrad.values.probe import LaterRate, Method, Rate


def case(*symptoms, scale=1.0, rate=0.1, optimizer=torch.optim.SGD):
    """A plain network whose weights have ``scale`` times what keeps the variance; symptoms: of its findings."""
    torch.manual_seed(0)
    layers = [nn.Linear(64, 64) for _ in range(4)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        layer.weight.data *= scale
        nn.init.zeros_(layer.bias)
    model = nn.Sequential(
        *(part for layer in layers for part in (layer, nn.ReLU())), nn.Linear(64, 1)
    )
    measured = probe(
        model,
        batch=(torch.randn(32, 64), torch.randn(32, 1)),
        loss=nn.MSELoss(),
        optimizer=optimizer(model.parameters(), rate),
        rate=False,
    )
    found = tuple(
        Finding("", "", Cause.LEARNING_RATE, Severity.ERROR, symptom=symptom)
        for symptom in symptoms
    )
    return Case(measured, found, Result("budget"), 200)


def rates(given):
    """Those that are proposed, in order."""
    changes = [c for found in candidates(given, ["learning_rate"]) for c in found.changes]
    return [change.value for change in changes if isinstance(change, SetRate)]


@pytest.mark.parametrize(
    "more",
    [
        (),
        (Symptom.STANDING_STILL,),
        (Symptom.RATE_TOO_SMALL,),
        (Symptom.DYING_UNITS, Symptom.STANDING_STILL),
    ],
)
def test_after_steps_that_were_too_large_no_larger_rate_is_tried(more):
    """However still it stands at the end."""
    found = rates(
        case(Symptom.FIRST_UPDATE_TOO_LARGE, *more, rate=10.0, optimizer=torch.optim.Adam)
    )
    assert found == [1e-3, 1.0, 0.1]


@pytest.mark.parametrize("symptom", [Symptom.RATE_TOO_SMALL, Symptom.STANDING_STILL])
def test_what_hardly_moves_gets_a_larger_rate(symptom):
    assert rates(case(symptom, rate=1e-5)) == [1e-3, 1e-4]
    assert rates(case(symptom, rate=1e-5, optimizer=torch.optim.Adam)) == [1e-3, 1e-4]


def clips(given):
    """Kinds that are proposed, each with when."""
    names = ["clipping", "percentile_clip", "update_clip"]
    found = [(c.changes[0].kind, c.alternative) for c in candidates(given, names)]
    return dict(found)


def test_clips_of_updates_are_for_adam_and_first_where_it_spikes():
    assert clips(case(Symptom.SPIKES)) == {"norm": 0, "value": 1, "agc": 2, "percentile": 1}
    adam = clips(case(Symptom.SPIKES, optimizer=torch.optim.AdamW))
    assert (adam["update"], adam["percentile"]) == (1, 1)
    late = clips(case(Symptom.DIVERGING, optimizer=torch.optim.Adam))
    assert (late["update"], late["percentile"]) == (4, 3)
    assert clips(case(Symptom.STANDING_STILL, optimizer=torch.optim.Adam)) == {}


LATER = LaterRate(4, 1.0, 0.4, 0.1)


def by_loss(*symptoms, later=LATER, rate=0.3):
    """What follows the loss, of a network whose critical rate was 0.1 at a loss of 2."""
    known = case(*symptoms)
    measured = Rate(rate, 0.1, 9, Method("sgd"), loss=2.0, later=later)
    known = dataclasses.replace(known, probe=dataclasses.replace(known.probe, rate=measured))
    return [c.changes for c in candidates(known, ["rate_by_loss"])]


def test_a_rate_by_the_loss_where_two_critical_rates_are_known():
    line = RateByLoss(0.3, 0.0, 10.0, 2.0)  # 20 at a loss of 2, 5 at 1: a line through (0, 0)
    assert by_loss(Symptom.DIVERGING) == [(line,)]
    assert by_loss(Symptom.DIVERGING, later=None) == []
    assert by_loss(Symptom.DIVERGING, rate=0.04) == []
    assert by_loss(Symptom.SATURATED) == []


def test_a_rate_by_the_loss_is_tried_with_no_other_remedy_for_the_rate():
    known = case(Symptom.DIVERGING)
    measured = Rate(0.3, 0.1, 9, Method("sgd"), loss=2.0, later=LATER)
    known = dataclasses.replace(known, probe=dataclasses.replace(known.probe, rate=measured))
    names = [c.remedy for c in ByDiagnosis(known, FixPlan("train.py")).take(99)]
    assert {"rate_by_loss", "warm_up"} <= set(names)
    search = ByDiagnosis(known, FixPlan("train.py", only=("rate_by_loss", "warm_up")))
    tried = [c.remedy for _ in range(9) for c in search.take(9)]
    assert sorted(tried) == ["rate_by_loss", "warm_up"]


def test_no_rate_is_tried_that_is_the_present_one():
    """Keras keeps 0.001 in float32."""
    now = 0.0010000000474974513
    found = rates(case(Symptom.STANDING_STILL, rate=now, optimizer=torch.optim.Adam))
    assert found == [0.1, 0.01]


@pytest.mark.parametrize(
    "symptom", [Symptom.FIRST_UPDATE_TOO_LARGE, Symptom.RATE_TOO_LARGE, Symptom.OVERWRITING]
)
def test_steps_too_large_on_weights_twice_too_large_are_their_fault_too(symptom):
    (found,) = candidates(case(symptom, scale=2.5), ["initialisation"])
    assert found.cause is Cause.LEARNING_RATE  # the one that was found, so that it is not put last
    assert all(isinstance(change, Initialise) for change in found.changes)
    assert not candidates(case(symptom, scale=1.3), ["initialisation"])
    assert not candidates(case(Symptom.RATE_TOO_SMALL, scale=2.5), ["initialisation"])


def test_remedies_know_causes_and_symptoms_and_no_codes():
    """So that a rule in a file of its own reaches every remedy for what it names."""
    folder = Path(fixing.__file__).parent
    for file in folder.rglob("*.py"):
        nodes = ast.walk(ast.parse(file.read_text()))
        constants = [n.value for n in nodes if isinstance(n, ast.Constant)]
        assert not [c for c in constants if re.fullmatch(r"EG\d{3}", str(c))], file


def test_every_symptom_is_named_by_a_rule_and_by_a_remedy():
    sources = [
        "".join(file.read_text() for file in Path(package.__file__).parent.glob("*.py"))
        for package in (remedies, rules, run_rules)
    ]
    for symptom in Symptom:
        name = f"Symptom.{symptom.name}"
        assert name in sources[0], name
        assert name in sources[1] + sources[2], name
