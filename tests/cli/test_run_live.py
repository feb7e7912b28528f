"""The live view: plain lines, and the panel at the bottom of a terminal."""

from __future__ import annotations

import dataclasses
import io
import re
import time

import numpy as np
import pytest
from recorded import record
from rich.console import Console

from evengrad.cli import live
from evengrad.diagnosis.examples.scenario import Scenario
from evengrad.report.run_text import sparkline
from evengrad.values.run import EventKind

STOPPED = Scenario(steps=40, refused=EventKind.NON_FINITE, status="stopped")


class Terminal:
    """As much of a terminal as the panel needs: rows, a scroll region, cursor moves."""

    def __init__(self, width: int = 80, height: int = 24) -> None:
        self.rows = [""] * height
        self.top, self.bottom = 0, height - 1
        self.row, self.saved = 0, 0
        self.gone: list[str] = []

    def feed(self, text: str) -> None:
        for code, newline, plain in re.findall(
            r"(\x1b(?:\[[?\d;]*[A-Za-z]|[78]))|(\n)|([^\x1b\n]+)", text
        ):
            if newline:
                self._down()
            elif plain:
                self.rows[self.row] += plain
            else:
                self._obey(code)

    def _down(self) -> None:
        if self.row == self.bottom:
            self.gone.append(self.rows[self.top])
            self.rows[self.top : self.bottom + 1] = [*self.rows[self.top + 1 : self.bottom + 1], ""]
        else:
            self.row += 1

    def _obey(self, code: str) -> None:
        numbers = [int(n) for n in re.findall(r"\d+", code)]
        if code == "\x1b7":
            self.saved = self.row
        elif code == "\x1b8":
            self.row = self.saved
        elif code.endswith("r"):
            self.top, self.bottom = (
                (numbers[0] - 1, numbers[1] - 1) if numbers else (0, len(self.rows) - 1)
            )
            self.row = 0
        elif code.endswith("A"):
            self.row = max(self.row - numbers[0], 0)
        elif code.endswith("H"):
            self.row = numbers[0] - 1
        elif code == "\x1b[2K":
            self.rows[self.row] = ""
        elif code == "\x1b[J":
            self.rows[self.row :] = [""] * (len(self.rows) - self.row)


def panel(height=24):
    paper = io.StringIO()
    console = Console(file=paper, force_terminal=True, width=80, height=height)
    return live.Panel(console), paper


def drawn(view, paper, terminal):
    view._draw()
    terminal.feed(paper.getvalue())
    paper.truncate(0)
    paper.seek(0)


@pytest.mark.parametrize("before", [0, 10, 23, 60])
def test_the_scripts_output_scrolls_above_the_panel_untouched(before):
    view, paper = panel()
    terminal = Terminal()
    said = [f"line {i}" for i in range(before + 40)]
    for line in said[:before]:
        terminal.feed(line + "\n")
    for step, norms in STOPPED.rows():
        view.step(step)
        view._latest.detail = STOPPED.detail(step.step, norms)
        view._latest.subject = STOPPED.subject
    for line in said[before:]:
        drawn(view, paper, terminal)
        terminal.feed(line + "\n")
    assert terminal.rows[-5].startswith("evengrad Net")
    assert "39" in terminal.rows[-4]
    assert "layers" in terminal.rows[-3]
    view.close()
    terminal.feed(paper.getvalue())
    seen = [row for row in [*terminal.gone, *terminal.rows] if row]
    assert seen == said, "every line once, in order, and nothing of ours is left"
    assert (terminal.top, terminal.bottom) == (0, 23), "all rows scroll again"


def test_a_low_terminal_has_no_panel():
    view, paper = panel(height=10)
    view._draw()
    view.close()
    assert paper.getvalue() == ""


def test_the_panel_shows_what_happened_last(tmp_path):
    view, paper = panel()
    watching = record(dataclasses.replace(STOPPED, steps=45), tmp_path, listener=view)
    terminal = Terminal()
    drawn(view, paper, terminal)
    view.close()
    assert view._thread is not None
    assert not view._thread.is_alive()
    assert not watching.off
    assert "guard stopped" in terminal.rows[-1]
    assert "not finite" in terminal.rows[-2]


def test_plain_lines(tmp_path):
    said = []
    view = live.Lines(said.append)
    record(STOPPED, tmp_path, listener=view)
    assert said[0].startswith("watching Net with SGD; the run file is ")
    assert [line.split(":")[0] for line in said[1:]] == ["step 39", "step 39"]


def test_progress_comes_at_most_every_ten_seconds(monkeypatch):
    said = []
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    view = live.Lines(said.append)
    for step, _ in Scenario(steps=500).rows():
        now[0] += 0.125
        view.step(step)
    assert len(said) == 6
    assert said[0].startswith("step 79 (8/s), loss ")
    assert said[-1].startswith("step 479 ")


def test_events_without_end_are_told_a_few_times():
    said = []
    view = live.Lines(said.append)
    event = next(iter(Scenario(loss="rises").run().events))
    for _ in range(1000):
        view.event(event)
    assert len(said) == 51


@pytest.mark.parametrize("seed", range(3))
def test_sparkline_orders_like_the_values(seed):
    generator = np.random.default_rng(seed)
    values = np.exp(3 * generator.normal(size=40))
    heights = ["▁▂▃▄▅▆▇█".index(c) for c in sparkline(values)]
    order = np.argsort(values)
    assert (np.diff(np.array(heights)[order]) >= 0).all()
    assert (min(heights), max(heights)) == (0, 7)
    values[5] = np.nan
    assert sparkline(values)[5] == "x"
    assert len(sparkline(generator.random(1000), 30)) == 30


def test_sparkline_of_noise_stays_in_the_middle():
    heights = {
        "▁▂▃▄▅▆▇█".index(c) for c in sparkline(1 + 0.01 * np.random.default_rng(0).random(40))
    }
    assert heights <= {3, 4}
    assert sparkline(np.array([])) == ""
    assert sparkline(np.full(3, np.nan)) == "xxx"
    assert len(set(sparkline(np.zeros(5)))) == 1
