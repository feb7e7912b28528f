"""Each rule on its own networks, and the 20 healthy ones, on the Keras backend at hand."""

from functools import cache

import keras
import pytest
from build_keras import build
from suite import HEALTHY, NETWORKS, SICK, assert_fires, assert_silent, name

from evengrad.adapters.keras.probe import probe
from evengrad.verbs.check import check_probe

pytestmark = pytest.mark.keras


@cache
def measured(network):
    """Several rules share a network."""
    return probe(**build(network, 1), rate=True)


@pytest.mark.once
@pytest.mark.parametrize(("rule", "network"), SICK, ids=name)
def test_fires_on_its_sick_networks(rule, network):
    assert_fires(rule, measured(network))


@pytest.mark.once
@pytest.mark.parametrize(("rule", "network"), HEALTHY, ids=name)
def test_silent_on_its_healthy_networks(rule, network):
    assert_silent(rule, measured(network))


# All of them with PyTorch, the fastest. Elsewhere some of each kind: the figures are the same, which
# tests/conformance asks, and most of the time would go into compilation.
CHOSEN = [*NETWORKS][:: {"torch": 1, "tensorflow": 3, "jax": 7}[keras.backend.backend()]]


@pytest.mark.parametrize("chosen", CHOSEN)
def test_healthy_networks_give_no_finding(chosen):
    assert check_probe(probe(**build(NETWORKS[chosen], 11), rate=True)).findings == ()
