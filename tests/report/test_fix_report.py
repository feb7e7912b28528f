"""What a fix shows: its figures, its JSON, and what came closest where nothing cured."""

import json
import math

import pytest

from evengrad.fixing.case import Candidate
from evengrad.fixing.changes.set_rate import SetRate
from evengrad.fixing.outcome import Attempt, Fixing, FixPlan
from evengrad.fixing.trial import Result
from evengrad.fixing.verdict import Verdict
from evengrad.report import fix_charts, fix_html, fix_json, fix_text
from evengrad.values.finding import Cause, Finding, Severity

SICK = Finding("EG301", "too large", Cause.INITIALISATION, Severity.ERROR, layers=("a",))
LOWER = Candidate("learning_rate", (SetRate(0.1),), Cause.LEARNING_RATE, 1, "a rate of 0.1 for <1>")


def attempt(candidate, verdict, losses=(2.0, 1.0, math.nan), start=(), profile=()):
    return Attempt(
        candidate,
        0,
        False,
        Result("budget", losses, profile_at_start=start, profile=profile),
        verdict,
    )


PLAIN = attempt(
    None,
    Verdict(False, False, math.nan, "a loss is not finite"),
    start=(("a", 100.0), ("b", 1.0)),
    profile=(("a", 0.0), ("b", 0.0)),
)
FAR = attempt(LOWER, Verdict(False, False, 0.5, "it explodes"))
NEAR = attempt(LOWER, Verdict(True, False, 2.0, "it stands still"), (2.0, 2.0, 2.0))
NOT_FIXED = Fixing(FixPlan("train.py"), "not_fixed", (SICK,), (PLAIN,), (FAR, NEAR))
CURE = attempt(
    LOWER, Verdict(True, True, 0.1, "it learns"), (2.0, 0.1), (("a", 2.0),), (("a", 1.0),)
)
FIXED = Fixing(FixPlan("train.py"), "fixed", (SICK,), (PLAIN,), (CURE,), LOWER, None, (CURE,))


def rows(spec):
    return spec["data"]["values"]


def test_the_gradient_is_shown_before_and_after():
    """A start that explodes is seen even where no gradient is left at the end."""
    shown = {
        (row["kind"], row["when"], row["layer"]): row["decades"]
        for row in rows(fix_charts.profile(FIXED))
    }
    assert shown == {
        ("as it is", "first step", "a"): pytest.approx(2.0),
        ("as it is", "first step", "b"): pytest.approx(0.0),
        ("fixed", "first step", "a"): pytest.approx(math.log10(2)),
        ("fixed", "at the end", "a"): pytest.approx(0.0),
    }


def test_what_came_closest_is_said():
    """The healthy one, though another has a lower loss."""
    words = "Closest came a rate of 0.1 for <1>: it stands still."
    assert fix_text.closest(NOT_FIXED) == words
    assert words in fix_text.render(NOT_FIXED)
    assert words.replace("<1>", "&lt;1&gt;") in fix_html.render(NOT_FIXED)
    assert fix_text.closest(FIXED) == ""


def test_what_was_tried_is_told_apart():
    """Two rates are one remedy's."""
    assert "a rate of 0.1 for <1>: it stands still" in fix_text.attempt_line(NEAR)
    assert fix_text.attempt_line(PLAIN).startswith("- as it is ")
    assert fix_text.attempt_line(CURE).startswith("+ learning_rate ")


def test_its_json_is_strict():
    def refuse(name):
        raise AssertionError(name)

    told = json.loads(fix_json.dumps(NOT_FIXED), parse_constant=refuse)
    assert told["schema"] == fix_json.SCHEMA
    assert told["findings"][0]["layers"] == ["a"]
    assert told["plain"][0]["loss"] == "nan"
    assert told["plain"][0]["result"]["losses"] == [2.0, 1.0, None]
    assert told["plain"][0]["result"]["profile_at_start"] == [["a", 100.0], ["b", 1.0]]
    assert told["closest"]["why"] == "it stands still"
    assert told["remedy"] is None
