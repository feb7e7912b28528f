"""A loss that was not seen is not one that was NaN."""

from dataclasses import replace

import numpy as np
import pytest
from recorded import Scenario, record

from evengrad.diagnosis.diagnose import diagnose
from evengrad.recording.reader import load
from evengrad.values.fact import Fact


@pytest.fixture
def run(tmp_path):
    return load(record(Scenario(), tmp_path).path)


def lossless(run, at):
    loss = run.steps["loss"].copy()
    loss[at] = np.nan
    return replace(run, steps={**run.steps, "loss": loss})


def test_every_other_step_without_one(run):
    """As of an optimizer that steps twice on one loss; the same where a NaN was seen is not finite."""
    found = lossless(run, slice(1, -1, 2))
    assert not found.without_loss.any()
    assert not any(f.code == "EG801" for f in diagnose(found))
    seen = replace(found, facts=(Fact("loss_not_finite", None, 1),))
    assert seen.without_loss.any()


def test_what_stays_so_to_the_end(run):
    found = lossless(run, slice(-5, None))
    assert found.without_loss.sum() == 5
    assert any(f.code == "EG801" for f in diagnose(found))
