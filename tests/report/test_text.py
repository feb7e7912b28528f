"""The terminal screen: what it says, and that it fits."""

from __future__ import annotations

import io
import re

import make
import numpy as np
import pytest
from rich.console import Console

from evengrad.diagnosis.budget import budget
from evengrad.report import profile, text
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.probe import Probe
from evengrad.verbs.check import Check, check_probe


def _screen(check: Check, *, width: int = 100, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    Console(file=stream, width=width).print(text.panel(check))
    stream.flush()
    return raw.getvalue().decode(encoding)


def _exploding(seed: int, depth: int = 20) -> Probe:
    return make.chain(make.noisy(np.random.default_rng(seed), depth, 3.0, 0.71))


@pytest.mark.parametrize("seed", range(3))
def test_twenty_layers_fit_one_screen(seed: int) -> None:
    lines = _screen(check_probe(_exploding(seed))).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith("Not healthy: 1 error")


def test_total_and_layers_are_told() -> None:
    gains = [(10.0, 1.0)] * 4
    screen = _screen(Check(make.chain(gains), ()))
    assert "grows 1.0e+04-fold from output to input" in screen
    figures = re.findall(r"(hidden\d) .*?x(\S+)", screen)
    assert [(name, float(value)) for name, value in figures] == [
        ("hidden1", pytest.approx(1e3)),
        ("hidden2", pytest.approx(1e2)),
        ("hidden3", pytest.approx(10)),
        ("hidden4", pytest.approx(1)),
    ]
    assert "Healthy: nothing found" in screen


def test_bars_are_as_long_as_the_logs() -> None:
    screen = _screen(Check(make.chain([(10.0, 1.0)] * 8), ()), encoding="ascii")
    bars = [line.count("#") for line in screen.splitlines() if "|" in line]
    steps = np.diff(bars)
    assert len(bars) == 9
    assert bars[-1] == 0
    assert np.ptp(steps) <= 1
    assert (steps < 0).all()


def test_shrinking_bars_grow_to_the_left() -> None:
    screen = _screen(Check(make.chain([(0.1, 1.0)] * 8), ()), encoding="ascii")
    rows = [line for line in screen.splitlines() if "|" in line]
    assert all("#" not in row.split("|")[1] for row in rows)
    assert rows[0].count("#") > rows[4].count("#") > 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_reads_without_unicode(encoding: str) -> None:
    assert "EG301" in _screen(check_probe(_exploding(0)), encoding=encoding)


def test_deep_nets_fold_and_keep_extremes_and_marks() -> None:
    probe = make.chain(make.noisy(np.random.default_rng(4), 150, 1.41, 0.71))
    finding = Finding("EG999", "t", Cause.ACTIVATION, Severity.WARNING, ("hidden77",))
    split = budget(probe)
    rows = profile.rows(Check(probe, (finding,)), split)
    assert len(rows) == 16
    worst = max((v.log_norm for v in split.profile if v.operation == v.layer), key=abs)
    assert any(row.log_norm == worst for row in rows)
    assert sum(row.marked for row in rows) == 1


def test_non_finite_is_told() -> None:
    screen = _screen(check_probe(make.with_notes(make.residual(15, broken=9), "[b]a note[/b]")))
    assert "not finite" in screen
    assert "block10.conv" in screen
    assert "Note: [b]a note[/b]" in screen


def test_zero_gradient_is_told() -> None:
    screen = _screen(Check(make.chain([(0.0, 1.0), (1.0, 1.0)], scales=[1.0, 1.0]), ()))
    assert "No gradient reaches the input" in screen


def test_markup_in_names_is_text() -> None:
    probe = make.chain([(1.0, 1.0)], layers=["[red]x[/red]"])
    assert "[red]x[/red]" in _screen(Check(probe, ()))
