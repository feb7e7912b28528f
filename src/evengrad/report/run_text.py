"""A run on one terminal screen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evengrad.diagnosis.readings import gradient_profile, losses
from evengrad.report import run_words, text, words
from evengrad.report.spoken import spoken
from evengrad.values.finding import Finding
from evengrad.values.message import joined, msg, translated
from evengrad.values.run import BAD_EVENTS, EventKind, Floats, Run
from evengrad.values.wording import factor

_BLOCKS = "▁▂▃▄▅▆▇█"
_ROWS = 12
_EVENTS = 6


def panel(run: Run, findings: Sequence[Finding]) -> RenderableType:
    """The run for a Rich console: outcome, figures, gradient by layer now against the start, events,
    ranked findings. ASCII where the console's encoding has no blocks.
    """
    return _RunScreen(run, tuple(findings))


def sparkline(values: Floats, width: int = 40, most: bool = False) -> str:
    """Blocks for the medians (``most``: the largest) of equal parts; x where a part has no finite value.

    By the logarithm where all are positive. A series within a factor of two is drawn within that factor, so
    that noise looks like noise.
    """
    if not len(values):
        return ""
    reduce = np.max if most else np.median
    parts = [part[np.isfinite(part)] for part in np.array_split(values, min(width, len(values)))]
    heights = np.array([reduce(part) if len(part) else np.nan for part in parts])
    finite = heights[np.isfinite(heights)]
    if not len(finite):
        return "x" * len(parts)
    least = abs(float(finite.max())) or 1.0
    if finite.min() > 0:
        heights, finite, least = np.log(heights), np.log(finite), math.log(2)
    span = max(float(np.ptp(finite)), least)
    low = float(finite.min() + finite.max() - span) / 2
    return "".join(
        "x" if math.isnan(v) else _BLOCKS[min(int((v - low) / span * 8), 7)]
        for v in heights.tolist()
    )


@dataclass(frozen=True, slots=True)
class _RunScreen:
    run: Run
    findings: tuple[Finding, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        run, glyphs = self.run, text.ASCII if options.ascii_only else text.UNICODE
        style = text.HOW[run_words.level(run, self.findings)]
        yield spoken(run_words.outcome(run, self.findings), style)
        yield spoken(joined(glyphs.dot, run_words.setting(run)), "dim")
        yield Text()
        yield _facts(run, ascii_only=options.ascii_only)
        yield from _profile(run, words.marked(self.findings), glyphs, options.max_width)
        yield from _events(run)
        yield from text.findings(self.findings, glyphs)


def _facts(run: Run, *, ascii_only: bool) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    lines: dict[str, Floats] = {
        msg("loss"): losses(run)[1],
        msg("gradient norm"): run.steps["norm"],
    }
    for label, value in run_words.facts(run):
        drawn = (
            ""
            if ascii_only or label not in lines
            else sparkline(lines[label], most=label != "loss")
        )
        shown = str(translated(value))
        shown = shown.replace("→", "->") if ascii_only else shown
        table.add_row(spoken(label, "dim"), Text(shown), Text(drawn, style="blue"))
    return table


def _profile(
    run: Run, marked: frozenset[str], glyphs: text.Glyphs, width: int
) -> Iterator[RenderableType]:
    """Bars from the smallest gradient to the largest, log scale; the change since the start beside them."""
    layers, start, now = gradient_profile(run)
    finite = now[np.isfinite(now) & (now > 0)]
    if not len(finite):
        return
    yield Text()
    yield spoken(msg("Gradient rms by layer, log scale: now, and against the start"), "dim")
    low, high = math.log(finite.min()), math.log(finite.max())
    low = min(low, high - math.log(1e3))
    names = min(max(map(len, layers)), 28)
    span = max(min(width - names - 26, 50), 8)
    table = Table.grid(padding=(0, 1))
    table.add_column(width=names, no_wrap=True, overflow="ellipsis")
    table.add_column(width=span, no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for row in _chosen(len(layers)):
        value, before = float(now[row]), float(start[row])
        cells = 0
        if value > 0 and math.isfinite(value):
            cells = 1 + round((span - 1) * (math.log(value) - low) / (high - low))
        style = "red" if layers[row] in marked or not value > 0 else "blue"
        change = factor(math.log(value / before)) if value > 0 and before > 0 else "-"
        table.add_row(
            Text(layers[row]),
            Text(glyphs.bar * cells, style),
            run_words.short(value),
            spoken(change),
        )
    yield Padding(table, (0, 0, 0, 2))


def _chosen(count: int) -> list[int]:
    """All rows, or evenly chosen ones with the first and the last."""
    if count <= _ROWS:
        return list(range(count))
    return sorted({round(i * (count - 1) / (_ROWS - 1)) for i in range(_ROWS)})


def _events(run: Run) -> Iterator[RenderableType]:
    """The first events and the last one; facts of the loop are told as findings."""
    events = run.events
    if not events:
        return
    yield Text()
    yield spoken(msg("Events ({number})", number=len(events)), "dim")
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    shown = list(events[:_EVENTS])
    shown += [events[-1]] if len(events) > _EVENTS else []
    for event in shown:
        style = (
            "red" if event.kind in BAD_EVENTS else "" if event.kind is EventKind.NOTE else "yellow"
        )
        kind = spoken(event.kind.words, style)
        table.add_row(f"{event.step:,}", kind, spoken(event.message))
    yield Padding(table, (0, 0, 0, 2))
