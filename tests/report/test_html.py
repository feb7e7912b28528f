"""The page: one file, nothing from outside, and the user's words stay words."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser

import make
import numpy as np
import pytest

from evengrad.diagnosis.evidence import evidence
from evengrad.report import charts, html, rows
from evengrad.report import page as page_parts
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.verbs.check import Check, check_probe

_EVIL = "</script><script>alert(1)</script>"


class _Page(HTMLParser):
    """Counts elements, and keeps what they point to and the last script's text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.scripts:
            self.scripts[-1] += data


def _specs(page: _Page) -> dict[str, dict]:
    found = re.findall(r'^  "(\w+)": (\{.*\}),$', page.scripts[-1], flags=re.MULTILINE)
    return {name: json.loads(spec) for name, spec in found}


def test_one_file_that_needs_nothing_else() -> None:
    wrong = Finding("EG101", "it grows", Cause.INITIALISATION, Severity.ERROR)
    page = _Page(html.render(Check(make.residual(50), (wrong,))))
    assert page.tags.count("script") == 2
    assert page.links
    assert all(link.startswith("#finding-") for link in page.links)
    assert page.tags.count("tr") == 1 + 200


def test_two_hundred_operations_stay_small() -> None:
    assert len(html.render(check_probe(make.residual(50))).encode()) < 3_000_000


def test_the_users_words_are_escaped_everywhere() -> None:
    probe = make.with_notes(
        make.chain([(3.0, 1.0)] * 9, layers=[f"{_EVIL}{i}" for i in range(9)]), _EVIL
    )
    finding = Finding(
        "EG999", _EVIL, Cause.ACTIVATION, Severity.ERROR, (_EVIL,), (_EVIL,), (_EVIL,)
    )
    page = html.render(Check(probe, (finding, *check_probe(probe).findings)))
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert _Page(page).tags.count("script") == 2
    names = _specs(_Page(page))["profile"]["layer"][1]["encoding"]["x"]["scale"]["domain"]
    assert names[1] == f"{_EVIL}0"


@pytest.mark.parametrize("seed", range(2))
def test_charts_hold_the_budget(seed: int) -> None:
    gains = make.noisy(np.random.default_rng(seed), 7, 2.5, 0.7)
    check = check_probe(make.chain(gains))
    seen = evidence(check.probe)
    decades = [row["decades"] for row in rows.profile(check, seen)]
    down = [math.log10(gain) for pair in gains for gain in pair]
    expected = [sum(down[i:]) for i in range(len(down) + 1)]
    assert decades == pytest.approx(expected)
    total = expected[0]
    assert sum(row["decades"] for row in rows.operations(seen)) == pytest.approx(total, abs=1e-4)
    assert sum(row["decades"] for row in rows.causes(seen)) == pytest.approx(total, abs=0.05)
    specs = _specs(_Page(html.render(check)))
    assert set(specs) == {"profile", "operations", "causes", "updates", "health"}


def test_bars_of_a_branching_net_add_up_too() -> None:
    seen = evidence(make.residual(5, gain=0.8))
    total = seen.budget.total / math.log(10)
    assert abs(total) > 0.1
    assert sum(row["decades"] for row in rows.operations(seen)) == pytest.approx(total, abs=1e-4)


def test_updates_are_relative_and_say_where_there_are_none() -> None:
    probe = make.chain([(1.0, 1.0)] * 3, updates=[1e-2, 0.0, None])
    assert [row["decades"] for row in rows.updates(Check(probe, ()))] == [pytest.approx(-2), None]


def test_a_broken_net_renders_without_nan_in_its_charts() -> None:
    check = check_probe(make.residual(15, broken=9))
    page = _Page(html.render(check))
    assert "NaN" not in page.scripts[-1]
    broken = [row.name for row in rows.table(check, evidence(check.probe)) if row.bad == "broken"]
    assert broken[0] == "block10.conv"
    assert len(broken) == 6 * 4


def test_findings_come_with_their_explanation() -> None:
    page = html.render(check_probe(make.chain([(3.0, 0.7)] * 20)))
    assert "How it decides." in page
    assert page_parts.explained("EG000") == []


def test_every_cause_has_a_colour() -> None:
    assert set(charts.CAUSES) == {cause.value.replace("_", " ") for cause in Cause}


def test_importing_loads_no_plotting_library() -> None:
    code = (
        "import sys, evengrad, evengrad.report.html\n"
        "print([m for m in ('altair', 'vl_convert', 'torch', 'keras') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
