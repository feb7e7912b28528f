"""What is printed of a value fits a screen, whatever the model's size, and says what it is."""

import re

import make
import pytest
from recorded import box, record

from evengrad.diagnosis.diagnose import diagnose
from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.recording.reader import load
from evengrad.theory.prediction import predict
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.run import EventKind


def test_a_finding_is_code_title_and_layers():
    names = tuple(f"conv{i}" for i in range(18))
    finding = Finding("EG301", "too large", Cause.INITIALISATION, Severity.ERROR, names)
    assert str(finding) == "EG301 too large [conv0 ... conv17 (18)]"
    assert repr(finding) == f"<Finding {finding}; error, cause initialisation>"
    assert str(Finding("EG601", "not scaled", Cause.INPUT_DATA, Severity.WARNING)) == (
        "EG601 not scaled"
    )


def test_a_run(tmp_path):
    scenario = Scenario(steps=1200, refused=EventKind.NON_FINITE, status="stopped")
    run = load(record(scenario, tmp_path).path)
    assert repr(run) == f"<Run of train.py, stopped: 1,200 steps, 2 events, {str(run.path)!r}>"
    assert repr(run.subject) == "<Subject Net in train.py: SGD, 8 trained tensors>"
    assert len(repr(diagnose(run))) < 500


@pytest.mark.parametrize("blocks", [1, 80])
def test_a_probe(blocks):
    probe = make.residual(blocks)
    assert repr(probe).startswith(f"<Probe of {probe.model} (")
    assert f"{len(probe.operations)} operations" in repr(probe)
    assert len(repr(probe)) < 200


def test_a_forecast_and_what_it_is_made_of():
    import torch
    from torch import nn

    from evengrad.adapters.torch.describe import describe

    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(30)])
    spec = describe(model, [((4, 8), "float32")])
    assert repr(spec) == (
        f"<ModelSpec of Sequential (torch {torch.__version__}): 30 operations, 60 weights>"
    )
    found = repr(predict(spec))
    assert re.match(
        r"<Prediction of Sequential: gradient (below )?x\S+ to (below )?x\S+ from", found
    )
    assert len(found) < 120


def test_a_black_box():
    found = box(7, EventKind.NON_FINITE)
    assert repr(found).startswith("<BlackBox of step 7 (non_finite, forward of ")
    assert repr(found.origin).startswith("<Origin forward of ")
    assert len(repr(found)) < 120
