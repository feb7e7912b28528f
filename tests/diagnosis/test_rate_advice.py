"""One script gets one learning rate, whoever is asked."""

import math
import re

import pytest
from build_torch import build

from evengrad.adapters.torch.probe import probe
from evengrad.diagnosis.evidence import evidence
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.diagnosis.rate_advice import higher, instead, lower, rounded
from evengrad.diagnosis.run_rules import overwrite
from evengrad.fixing.case import Case
from evengrad.fixing.remedies import learning_rate
from evengrad.fixing.trial import Result
from evengrad.values.probe import Method, Rate
from evengrad.verbs.check import check_probe

_RATE = re.compile(r"learning rate(?:, now [^,]+,)? to (\S+?)[,.]?(?: |$)")


def rates(findings):
    """The rates that findings advise, echoes too."""
    every = [f for root in findings for f in (root, *root.echoes)]
    return [
        float(found.group(1)) for f in every for text in f.advice if (found := _RATE.search(text))
    ]


def test_the_smaller_bound_counts():
    assert lower(100.0, ratio=9.3) == 0.1
    assert lower(100.0, ratio=9.3, stable=0.98) == 0.1
    assert lower(100.0, ratio=0.5, stable=0.98) == 0.5
    assert lower(1e-3, stable=1.0) is None
    assert lower(1e-3) is None


@pytest.mark.parametrize("ratio", [1e8, 1e30, math.inf])
def test_what_nobody_can_use_is_no_advice(ratio):
    assert lower(0.1, ratio=ratio) is None
    assert lower(0.1, stable=1 / ratio) is None


def test_a_rate_is_raised_to_what_is_usual_at_most():
    assert higher(Rate(1e-9, 100.0, 10, Method("sgd"))) == 0.1
    assert higher(Rate(1e-9, 0.1, 10, Method("sgd"))) == rounded(0.1 * 0.13 / 10)
    assert higher(Rate(1e-9, math.inf, 10, Method("adam"))) == 1e-3


@pytest.mark.parametrize(
    "network",
    [
        NetworkCase(learning_rate=30.0),
        NetworkCase(learning_rate=300.0),
        NetworkCase(learning_rate=1e6),
        NetworkCase(optimizer="adam", learning_rate=1.0),
    ],
)
def test_check_and_fix_name_one_rate(network):
    measured = probe(**build(network, 1), rate=True)
    findings = check_probe(measured).findings
    told = set(rates(findings))
    case = Case(measured, findings, Result("budget"), 100)
    first = next(iter(learning_rate.propose(case)))
    assert len(told) == 1, [f.advice for f in findings]
    assert told == {first.changes[0].value}
    assert told == {instead(evidence(measured))}


@pytest.mark.parametrize("rate", [1e-30, 1e-12, 1e12, 1e30])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_no_finding_has_a_figure_that_nobody_can_use(optimizer, rate):
    measured = probe(**build(NetworkCase(optimizer=optimizer, learning_rate=rate), 1), rate=True)
    for root in check_probe(measured).findings:
        for found in (root, *root.echoes):
            for text in (found.title, *found.evidence, *found.advice):
                own = text.replace(f"{rate:g}", "")
                assert not re.search(r"e[+-](1\d|[2-9]\d)|inf-|\binf\b|\bnan\b", own), text


def test_a_run_and_a_check_compute_it_alike():
    found = [f for one in overwrite.SICK for f in overwrite.check(one.run())]
    asked = rates(found)
    assert asked
    for one in (one for one in overwrite.SICK if one.rate == 40.0):
        ratio = float(
            re.search(r"is ([\d.]+) times", next(iter(overwrite.check(one.run()))).title)[1]
        )
        assert math.isclose(rates(overwrite.check(one.run()))[0], lower(40.0, ratio), rel_tol=0.2)
