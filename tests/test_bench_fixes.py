"""The corpus of `make bench-fix`: its scripts, its halves, and the arithmetic of its tables."""

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.fixes import tables
from bench.fixes.calls import Outcome
from bench.fixes.judging import learns, sick
from bench.fixes.scripts import script
from bench.fixes.specs import ARCHITECTURES, CAUSES, FRAMEWORKS, MISTAKES, corpus
from bench.fixes.tables import Case

SPECS = corpus()


def test_the_corpus():
    assert len(SPECS) >= 100
    assert len({spec.name for spec in SPECS}) == len(SPECS)
    assert corpus() == SPECS
    development, held_out = (set(own) for own in ARCHITECTURES.values())
    assert not development & held_out
    for framework in ("torch", "keras"):
        for half in ARCHITECTURES:
            own = [s for s in SPECS if s.framework == framework and s.half == half]
            fitting = {p for p in CAUSES if framework in MISTAKES.get(p, FRAMEWORKS)}
            fitting -= set() if "towers" in ARCHITECTURES[half] else {"broadcast"}
            assert {s.plant for s in own} == fitting


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_every_script_is_python_and_has_its_plant(framework):
    for spec in SPECS:
        if spec.framework == framework:
            planted, well = script(spec), script(spec.twin)
            compile(planted, spec.name, "exec")
            compile(well, spec.name, "exec")
            assert "evengrad" not in planted
            assert planted != well


def test_sick_by_its_losses():
    assert sick(math.nan, 0.2)
    assert sick(0.4, 0.2)
    assert not sick(0.25, 0.2)
    assert learns(0.5, 2.3)
    assert not learns(2.2, 2.3)
    assert not learns(math.nan, 2.3)


def test_the_tables():
    rate, weights = (
        next(s for s in SPECS if s.plant == plant) for plant in ("rate_large", "weights_large")
    )
    good = Outcome("fixed", ("EG702",), ("learning_rate",), "learning_rate", cost=2.0, score=0.91)
    bad = Outcome("not_fixed", ("EG702", "EG301"), ("learning_rate", "initialisation"), cost=8.0)
    cases = [Case(rate, {"diagnosis": good}, 1.0), Case(weights, {"diagnosis": bad}, 1.0)]
    row = tables.diagnosis({"all": cases})[-1]
    assert (
        row
        == "| all | 50% (1/2) | 100% (2/2) | 50% (1/2) | 50% (1/2) | 100% (1/1) | 5.0 (3.5 to 6.5) |"
    )
    whole = [Case(rate, {"diagnosis": good, "random": bad, "warm-up": bad}, 1.0)]
    assert "100% (1/1) | 2.0 | 0% (0/1) | 8.0 | 0% (0/1) | 8.0" in tables.searches({"": whole})[-1]
