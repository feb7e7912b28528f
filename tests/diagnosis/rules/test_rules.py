"""Each rule on its own sick and healthy networks, in PyTorch; and the 20 healthy ones on all rules."""

import re

import pytest
from build_torch import build
from suite import HEALTHY, NETWORKS, SICK, assert_fires, assert_silent, name

from evengrad.adapters.torch.probe import probe
from evengrad.diagnosis.catalogue import all_rules
from evengrad.diagnosis.diagnose import diagnose_probe
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.verbs.check import check_probe


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("rule", "network"), SICK, ids=name)
def test_fires_on_its_sick_networks(rule, network, seed):
    assert_fires(rule, probe(**build(network, seed), rate=True))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("rule", "network"), HEALTHY, ids=name)
def test_silent_on_its_healthy_networks(rule, network, seed):
    assert_silent(rule, probe(**build(network, seed), rate=True))


@pytest.mark.parametrize("seed", [11, 12, 13])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_healthy_networks_give_no_finding(network, seed):
    assert check_probe(probe(**build(network, seed), rate=True)).findings == ()


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.code)
def test_explanations_say_everything(rule):
    text = rule.explanation
    title, _, body = text.partition("\n\n")
    assert re.fullmatch(rf"{rule.code} .+: .+\.", title), "CODE name: what it is."
    for part in (
        "What it finds:",
        "Why it matters:",
        "How it decides:",
        "What to do:",
        "References:",
    ):
        assert part in body
    assert rule.sick
    assert rule.healthy


@pytest.mark.parametrize("seed", [3, 4])
def test_a_loss_that_is_known_to_stand_still_makes_a_small_rate_a_finding(seed):
    far, near = (NetworkCase(learning_rate=rate) for rate in (1e-4, 1e-2))
    for network, still, codes in ((far, False, set()), (far, True, {"EG703"}), (near, True, set())):
        measured = probe(**build(network, seed), rate=True)
        assert {finding.code for finding in diagnose_probe(measured, still=still)} == codes
