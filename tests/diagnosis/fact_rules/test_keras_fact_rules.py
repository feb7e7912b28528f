"""Each fact rule on its own sick and healthy keras scripts."""

import os

import pytest
from programs import codes

from evengrad.diagnosis.catalogue import all_fact_rules

pytestmark = pytest.mark.keras
BACKEND = os.environ["KERAS_BACKEND"]


def here(place, program, *always):
    """What runs on any backend does so by turns, a quarter of it on JAX, which compiles longest."""
    if program.framework != "keras" or BACKEND not in program.backends:
        return False
    turns = ("jax", "torch", "tensorflow", "torch")
    return len(program.backends) < 3 or BACKEND in (*always, turns[place % 4])


EVERY = [(rule, p) for rule in all_fact_rules() for p in rule.sick]
WELL = [(rule, p) for rule in all_fact_rules() for p in rule.healthy]
OURS = [pair for place, pair in enumerate(EVERY) if here(place, pair[1], "tensorflow")]
HEALTHY = [pair for place, pair in enumerate(WELL) if here(place, pair[1])]


def name(value):
    return getattr(value, "code", "")


@pytest.mark.parametrize(("rule", "program"), OURS, ids=name)
def test_fires_on_its_sick_scripts(rule, program, tmp_path, monkeypatch):
    found = codes(program, tmp_path, monkeypatch)
    assert rule.code in found


@pytest.mark.parametrize(("rule", "program"), HEALTHY, ids=name)
def test_is_silent_on_its_healthy_scripts(rule, program, tmp_path, monkeypatch):
    assert codes(program, tmp_path, monkeypatch) == []
