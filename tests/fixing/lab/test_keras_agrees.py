"""The same cells in Keras and in PyTorch come to the same: one draws the weights and batches of the other."""

from __future__ import annotations

import os

import here
import numpy as np
import pytest

from evengrad.fixing.lab import article
from evengrad.fixing.lab.cells import Cell
from evengrad.fixing.lab.cures import CURES
from evengrad.fixing.lab.grid import LabPlan
from evengrad.fixing.lab.laboratory import measured, trial_of
from evengrad.fixing.lab.planted import CAUSES

pytestmark = pytest.mark.keras

CAUSE = {one.name: one for one in CAUSES}
CURE = {one.name: one for one in CURES}


def test_a_small_grid_agrees(tmp_path):
    """Of a cause and a remedy that both change something."""
    pytest.importorskip("torch")
    pytest.importorskip("mlxtend")
    found = []
    for framework, backend in (("torch", ""), ("keras", os.environ["KERAS_BACKEND"])):
        plan = LabPlan(
            framework=framework,
            backend=backend,
            quick=True,
            steps=20,
            depths=(3,),
            folder=tmp_path / framework,
        )
        (subject,) = article.subjects(plan)
        cell = Cell(subject, CAUSE["weights x2"], CURE["clipping"], 1)
        folder = tmp_path / framework / "cell"
        found.append(measured(cell, here.execute(trial_of(cell), folder, str(tmp_path)), folder))
    one, other = found
    assert one.ran, one.result.message
    assert other.ran, other.result.message
    assert one.growth_at_start == pytest.approx(other.growth_at_start, abs=1e-3)
    assert one.growth == pytest.approx(other.growth, abs=0.05)
    for share in ("initialisation", "activation", "architecture"):
        assert one.share(share) == pytest.approx(other.share(share), abs=1e-3)
    assert np.array(one.result.losses) == pytest.approx(np.array(other.result.losses), rel=2e-2)
    assert one.accuracy == pytest.approx(other.accuracy, abs=0.02)
