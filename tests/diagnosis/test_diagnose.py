"""Folding and ranking of findings."""

from dataclasses import replace

import make
import pytest
from recorded import record

from evengrad.diagnosis.diagnose import diagnose, fold, upstream
from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.errors import EvengradError
from evengrad.recording.reader import load
from evengrad.values.fact import Where
from evengrad.values.finding import Cause, Finding, Severity, Symptom


def finding(code, cause, severity=Severity.WARNING, explained_by=()):
    return Finding(code, f"title of {code}", cause, severity, explained_by=explained_by)


def test_symptoms_fold_into_the_finding_that_names_their_cause():
    found = fold(
        [
            finding("EG701", Cause.LEARNING_RATE, explained_by=(Cause.INITIALISATION,)),
            finding("EG101", Cause.INITIALISATION, Severity.ERROR, (Cause.INITIALISATION,)),
            finding("EG301", Cause.INITIALISATION),
        ]
    )
    assert [f.code for f in found] == ["EG301"]
    assert {echo.code for echo in found[0].echoes} == {"EG101", "EG701"}
    assert found[0].severity is Severity.ERROR, "as severe as its worst echo"


def test_a_symptom_that_nothing_explains_stands_alone():
    found = fold([finding("EG101", Cause.ARCHITECTURE, explained_by=(Cause.ARCHITECTURE,))])
    assert [f.code for f in found] == ["EG101"]
    assert found[0].echoes == ()


def test_two_symptoms_do_not_explain_each_other():
    found = fold(
        [
            finding("EG101", Cause.ARCHITECTURE, explained_by=(Cause.ARCHITECTURE,)),
            finding("EG701", Cause.LEARNING_RATE, explained_by=(Cause.ARCHITECTURE,)),
        ]
    )
    assert [f.code for f in found] == ["EG101", "EG701"]


def test_errors_come_first_then_what_lies_upstream():
    found = fold(
        [
            finding("EG701", Cause.LEARNING_RATE),
            finding("EG601", Cause.INPUT_DATA),
            finding("EG401", Cause.NORMALISATION, Severity.ERROR),
        ]
    )
    assert [f.code for f in found] == ["EG401", "EG601", "EG701"]


def test_nothing_found():
    assert fold([]) == ()


def test_to_be_mended_in_the_order_in_which_causes_can_be_judged():
    found = fold(
        [
            finding("EG802", Cause.LEARNING_RATE, Severity.ERROR),
            finding("EG301", Cause.INITIALISATION),
            finding("EG601", Cause.INPUT_DATA),
        ]
    )
    assert [f.code for f in found] == ["EG802", "EG601", "EG301"]
    assert [f.code for f in upstream(found)] == ["EG601", "EG301", "EG802"]


def test_a_loaded_run_and_a_probe_are_diagnosed_alike(tmp_path):
    scenario = Scenario(loss="rises")
    run = load(record(scenario, tmp_path).path)
    assert [(f.code, f.cause) for f in diagnose(run)] == [("EG807", Cause.LEARNING_RATE)]
    assert diagnose(load(record(Scenario(steps=0), tmp_path / "empty").path)) == ()
    found = diagnose(make.chain([(3.0, 0.7)] * 20))
    assert found[0].code == "EG301"
    assert "EG101" in {echo.code for echo in found[0].echoes}


@pytest.mark.parametrize("other", ["runs/20260101-120000-train", None, Scenario()])
def test_what_is_neither_is_refused(other):
    with pytest.raises(EvengradError, match=r"a Run \(evengrad\.load\) or a Probe .*, got "):
        diagnose(other)


def test_a_birth_is_an_echo_of_the_mistake_in_its_line():
    line, other = Where("train.py", 7, "ctc(a, b)"), Where("train.py", 9)
    born = Finding("EG104", "born", Cause.LOSS_HEAD, Severity.ERROR, mistake=True, where=line)
    born = replace(born, symptom=Symptom.NOT_FINITE)
    exact = Finding("EG934", "too long", Cause.LOSS_HEAD, Severity.ERROR, mistake=True, where=line)
    found = fold([born, exact])
    assert [(f.code, [e.code for e in f.echoes]) for f in found] == [("EG934", ["EG104"])]
    assert [f.code for f in fold([replace(born, where=other), exact])] == ["EG104", "EG934"]
