"""Each fact rule on its own sick and healthy keras scripts."""

import os

import pytest
from programs import codes

from evengrad.diagnosis.catalogue import all_fact_rules

pytestmark = pytest.mark.keras
BACKEND = os.environ["KERAS_BACKEND"]


def here(program):
    return program.framework == "keras" and BACKEND in program.backends


OURS = [(rule, p) for rule in all_fact_rules() for p in rule.sick if here(p)]
HEALTHY = [(rule, p) for rule in all_fact_rules() for p in rule.healthy if here(p)]


def name(value):
    return getattr(value, "code", "")


@pytest.mark.parametrize(("rule", "program"), OURS, ids=name)
def test_fires_on_its_sick_scripts(rule, program, tmp_path, monkeypatch):
    found = codes(program, tmp_path, monkeypatch)
    assert rule.code in found


@pytest.mark.parametrize(("rule", "program"), HEALTHY, ids=name)
def test_is_silent_on_its_healthy_scripts(rule, program, tmp_path, monkeypatch):
    assert codes(program, tmp_path, monkeypatch) == []
