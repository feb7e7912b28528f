"""Figures in words: of no size is anything printed that nobody can use."""

import math
import re

import pytest

from evengrad.values import wording

EXTREMES = [0.0, 1e-300, 2.7e-8, 1e-3, 0.5, 1.0, 3.4, 12.0, 1e4, 2.3e10, 1e38, 1e300, math.inf]
_BEYOND = re.compile(r"e[+-]?(1\d|[2-9]\d|\d{3})|\binf\b|\bnan\b|10\^")


@pytest.mark.parametrize("value", EXTREMES)
@pytest.mark.parametrize("words", [wording.times, wording.of_it, wording.size])
def test_a_figure_is_one_that_can_be_used(words, value):
    if words is wording.size and value == math.inf:
        return  # what is not finite is said to be
    assert not _BEYOND.search(words(value)), words(value)


@pytest.mark.parametrize("value", [-math.inf, *(math.log(v) for v in EXTREMES if v), math.nan])
@pytest.mark.parametrize("words", [wording.factor, wording.fold])
def test_a_log_ratio_is_one_that_can_be_used(words, value):
    assert not _BEYOND.search(words(value)), words(value)


def test_what_is_usual_keeps_its_digits():
    assert wording.factor(math.log(0.85)) == "x0.85"
    assert wording.factor(math.log(3.2e6)) == "x3.2e+06"
    assert wording.factor(-math.inf) == "x0"
    assert wording.times(5_512) == "5,500 times"
    assert wording.of_it(0.02) == "0.02 of"
    assert wording.size(127.5) == "127.5"


def test_an_error_is_told_in_one_bearable_line():
    assert wording.brief("shapes differ\n[[0. 0.]]") == "shapes differ"
    assert len(wording.brief("word " * 200)) < 170
