"""The user's line in every report, and what could not be looked at."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from html import unescape

import make
import pytest
from rich.console import Console

from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.report import html, run_html, run_json, run_text, run_words, text, words
from evengrad.report import json as machine
from evengrad.values.fact import Where
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.verbs.check import Check

PLACE = Where("train.py", 12, "optimizer.step()")
ECHOES = tuple(
    Finding(f"EG70{i}", f"echo {i}", Cause.LEARNING_RATE, Severity.WARNING) for i in range(5)
)
MISTAKE = Finding(
    "EG910",
    "the gradients are never zeroed",
    Cause.LEARNING_RATE,
    Severity.ERROR,
    evidence=(str(PLACE), "they grew"),
    advice=("call optimizer.zero_grad()",),
    echoes=ECHOES,
    where=PLACE,
    mistake=True,
)
PROBE = make.chain([(1.0, 1.0)] * 3)


def screen(panel):
    stream = io.StringIO()
    Console(file=stream, width=110).print(panel)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["check", "run"])
def test_the_users_line_is_in_text_html_and_json(kind):
    if kind == "check":
        check = Check(PROBE, (MISTAKE,))
        shown, page, data = text.panel(check), html.render(check), machine.dumps(check)
    else:
        run = Scenario(steps=60).run()
        shown, page = run_text.panel(run, (MISTAKE,)), run_html.render(run, (MISTAKE,))
        data = run_json.dumps(run, (MISTAKE,))
    lines = screen(shown)
    assert lines.count("train.py:12: optimizer.step()") == 1
    assert "measured under it" in lines
    assert "... and 2 more" in lines
    body = unescape(page.partition("What is wrong")[2])
    assert "train.py:12" in body
    assert "<code>optimizer.step()</code>" in body
    assert "measured under it" in body
    (found,) = json.loads(data)["findings"]
    assert found["where"] == {"file": "train.py", "line": 12, "code": "optimizer.step()"}
    assert found["mistake"] is True


def test_a_finding_without_a_line_has_none():
    found = machine.finding(replace(MISTAKE, where=None, mistake=False))
    assert found["where"] is None
    assert words.echoing(replace(MISTAKE, mistake=False)) == "also"


@pytest.mark.parametrize(
    ("note", "says"),
    [
        (
            "the coming update could not be worked out: it is sparse",
            "the learning rate was not checked",
        ),
        ("updates unknown: step() takes a closure", "the learning rate was not checked"),
        ("a call could not be looked into: odd", "a call could not be looked into"),
    ],
)
def test_a_check_says_what_it_could_not_look_at(note, says):
    check = Check(make.with_notes(PROBE, note), ())
    assert words.verdict(check).startswith("Nothing found in this first batch; " + says)
    assert words.level(check) == "partly"
    found = json.loads(machine.dumps(check))
    assert found["healthy"] is True
    assert says in found["unseen"][0]
    assert 'class="partly"' in html.render(check)


def test_a_note_that_takes_nothing_away_is_none():
    check = Check(make.with_notes(PROBE, "the model could not be described for a forecast"), ())
    assert words.verdict(check) == "Healthy: nothing found"


def test_a_short_run_is_not_called_healthy():
    run = Scenario(steps=14).run()
    assert run_words.outcome(run, ()) == (
        "Finished: nothing found; 14 steps are too few to say whether it learns"
    )
    assert run_words.level(run, ()) == "partly"
