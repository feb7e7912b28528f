"""A clip that leaves gradients below an optimizer's epsilon, against Adam's own first step."""

import numpy as np
import pytest

from evengrad.theory.stalled import stalled

SIZES = (64, 8, 1)
NAMES = ("weight", "bias", "scale")
EPSILON = 1e-8


def told(factor, epsilon=EPSILON):
    """Norms clipped to 1 where the last tensor's gradient is that many times the others'."""
    before = np.array([1.0, 1.0, factor])
    norm = np.sqrt((before**2 * SIZES).sum())
    return stalled(before, before / max(norm, 1.0), SIZES, NAMES, epsilon)


@pytest.mark.parametrize("factor", [1.0, 1e3, 1e7])
def test_silent_while_epsilon_is_the_smaller(factor):
    assert told(factor) is None


@pytest.mark.parametrize("factor", [2e8, 1e10])
def test_says_what_adam_does_with_what_is_left(factor):
    found = told(factor)
    gradient = 1.0 / np.sqrt(factor**2 + 72)
    step = gradient / (np.sqrt(gradient**2) + EPSILON)  # its first, of a rate of 1
    assert found["share"] == pytest.approx(step)
    assert (found["stalled"], found["tensors"], found["largest"]) == (2, 3, "scale")
    assert found["part"] == pytest.approx(72 / 73)


def test_silent_where_it_would_be_so_without_the_clip():
    assert told(1e3, epsilon=10.0) is None
    assert stalled(np.zeros(3), np.zeros(3), SIZES, NAMES, EPSILON) is None
