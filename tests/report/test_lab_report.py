"""What an experiment shows: its tables, its claims, its JSON, its page."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from markupsafe import escape

sys.path.insert(0, str(Path(__file__).parents[1] / "fixing" / "lab"))
from made import cell, subject, table

from evengrad.fixing.lab.cells import LabTraining
from evengrad.fixing.lab.claims import judge_all
from evengrad.fixing.lab.cures import CURES
from evengrad.fixing.lab.grid import LabPlan
from evengrad.fixing.lab.laboratory import Experiment
from evengrad.fixing.trial import Result
from evengrad.report import lab_html, lab_json, lab_rows, lab_text

REFUSED = LabTraining(
    "2 convolutions", "sigmoid", "clipping", 0, Result("refused", message="does not fit <it>")
)


@pytest.fixture(scope="module")
def found():
    measured = table(
        cell(accuracy=0.9),
        cell("rate x10", accuracy=0.1, norms=(1.0, *[float("nan")] * 7)),
        cell("rate x10", "clipping", 0.85),
        [REFUSED],
    )
    return Experiment(LabPlan(), measured, 12, judge_all(measured))


def test_the_tables(found):
    text = lab_text.render(found)
    assert "10 of 12 (the same call goes on) trainings of 200 steps, 3 seeds" in text
    rows = [line.split() for line in text.splitlines() if line.startswith("rate x10 ")]
    assert rows[0] == ["rate", "x10", "10", "±1", "85", "±1"]
    assert "+ 3.3 (4) Clipping prevents explosion: holds" in text
    assert "6 (3)   Learning-rate decay cures vanishing: not measured" in text
    assert max(map(len, text.splitlines())) <= 112


def test_the_page(found):
    page = lab_html.render(found)
    assert "does not fit &lt;it&gt;" in page
    assert 'href="#cell-2-convolutions-rate-x10-clipping"' in page
    assert 'id="cell-2-convolutions-rate-x10-clipping"' in page
    assert page.count("<polyline") == 3 * 2 * 3  # places x (loss, norm) x seeds
    assert page.count('<article id="cell-') == 3
    assert "vegaEmbed" not in page  # no chart needs it
    assert len(page) < 200_000
    for judged in found.judged:
        assert str(escape(judged.claim.quote)) in page


def test_the_json(found):
    facts = json.loads(lab_json.dumps(found))
    assert len(facts["trainings"]) == 10
    assert facts["whole"] is False
    claims = {one["claim"]: one for one in facts["claims"]}
    assert claims["clipping_cures"]["standing"] == "holds"
    assert claims["clipping_cures"]["rulings"][0]["condition"] == "2 convolutions, rate x10"
    assert claims["decay_cures"]["rulings"] == []


def test_a_wide_table_is_cut_to_the_screen():
    every = [cell("weights x4", cure.name, 0.5) for cure in CURES]
    measured = table(cell(accuracy=0.9), *every)
    wide = Experiment(LabPlan(), measured, 1, judge_all(measured))
    lines = lab_text.render(wide).splitlines()
    assert max(map(len, lines)) <= 112
    text = " ".join(lines)
    assert all(f" {cure.name}" in text for cure in CURES)


def test_a_curve_leaves_out_what_has_no_logarithm():
    values = [1.0, 10.0, float("nan"), 0.0, -1.0, 100.0]
    assert lab_rows.curve(values) == [(0, 0.0), (1, 1.0), (5, 2.0)]
    assert len(lab_rows.curve([1.0] * 1000)) <= 80


def test_a_cell_without_seeds(found):
    (row,) = [r for r in lab_rows.places(found.table, subject().name) if r[0].cause.name == "none"]
    assert [lab_rows.reached(place) for place in row] == ["90 ±1", ""]
