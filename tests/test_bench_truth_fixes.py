"""How well a script does, by what it prints."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.truth.fixes import Figure, figure


@pytest.mark.parametrize(
    ("output", "pattern", "wanted"),
    [
        ("epoch 0 loss 2.30\nfinal loss 0.41 accuracy 0.912\n", "", (0.912, 0.912, True)),
        ("epoch 0 loss 2.30\nepoch 1 loss 0.41\n", "", (0.41, 2.3, False)),
        ("0 2.3\n1 0.5\n", "", (0.5, 2.3, False)),
        ("final loss 3e-05 r2 -0.25\n", "", (-0.25, -0.25, True)),
        ("{'loss': 0.7, 'label_accuracy': 0.95}", "", (0.95, 0.95, True)),
        ("final loss 0.2 R2 np.float64(0.5)\n", "", (0.5, 0.5, True)),
        ("tensor([1.98, -1.0])", r"(?#score)tensor\(\[(-?[\d.]+)", (1.98, 1.98, True)),
    ],
)
def test_what_is_printed(output, pattern, wanted):
    found = figure(output, pattern)
    assert (found.value, found.first, found.rising) == wanted


def test_what_is_not_finite_or_not_there_is_ruined():
    twin, sick = Figure(0.1, 2.3, False), Figure(math.nan, 2.3, False)
    assert figure("epoch 0 loss nan\n").reaches(twin, sick) == -math.inf
    assert figure("").reaches(twin, sick) == -math.inf


def test_the_share_of_what_the_twin_reaches():
    twin, sick = Figure(0.8, 0.8, True), Figure(0.1, 0.1, True)
    assert Figure(0.72, 0.72, True).reaches(twin, sick) == pytest.approx(0.9)
    twin, sick = Figure(0.3, 2.3, False), Figure(2.2, 2.3, False)
    assert Figure(0.5, 9.0, False).reaches(twin, sick) == pytest.approx(0.9)
    twin, sick = Figure(0.1, 0.1, False), Figure(2.1, 2.1, False)
    assert Figure(0.3, 0.3, False).reaches(twin, sick) == pytest.approx(0.9)
