"""Each fact rule has sick and healthy scripts in both frameworks, or it is known why not."""

import pytest

from evengrad.diagnosis.catalogue import all_fact_rules

ALONE = {
    "EG920": "PyTorch alone: fit steps by itself",
    "EG921": "PyTorch alone: nested tapes are not followed",
    "EG923": "PyTorch alone: Keras keeps its averages in the optimizer",
    "EG922": "PyTorch alone: Keras has no LBFGS",
    "EG955": "Keras alone: PyTorch refuses such a batch",
    "EG950": "Keras alone: torch's training mode is not a word in the call",
    "EG956": "PyTorch alone: Keras' layers make their masks",
    "EG959": "PyTorch alone: Keras has the classes last",
    "EG954": "Keras alone: PyTorch has no call that is given both; an evaluation loop may have no loss",
}


@pytest.mark.parametrize("rule", all_fact_rules(), ids=lambda rule: rule.code)
def test_there_are_scripts_of_both(rule):
    sick = {program.framework for program in rule.sick}
    healthy = {program.framework for program in rule.healthy}
    whole = sick >= {"torch", "keras"} and healthy >= {"torch", "keras"}
    assert whole != (rule.code in ALONE), ALONE.get(rule.code, "a framework is missing")
