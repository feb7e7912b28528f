"""A check on one terminal screen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evengrad.diagnosis.evidence import DRIFT, evidence
from evengrad.report import expected, profile, words
from evengrad.report.profile import LayerRow
from evengrad.report.spoken import spoken, width
from evengrad.values import wording
from evengrad.values.finding import Finding, Severity
from evengrad.values.message import joined, msg
from evengrad.verbs.check import Check

STYLE = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow"}
HOW = {
    "error": "bold red",
    "warning": "bold yellow",
    "partly": "bold",
    "healthy": "bold green",
}
_FACTS = 3
_FULL = 3  # findings told in full; the others get a line each
_ECHOES = 3


def panel(check: Check, more: Sequence[str] = ()) -> RenderableType:
    """The check for a Rich console: verdict, budget over depth, causes, ranked findings.

    Uses the console's width, and ASCII where its encoding has no blocks. Fits 40 lines at 100
    columns for common results. more: lines between budget and findings.
    """
    return _CheckScreen(check, more)


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What a screen draws with."""

    bar: str
    axis: str
    mark: str
    dot: str


UNICODE = Glyphs("█", "│", "◂", " · ")
ASCII = Glyphs("#", "|", "<", " - ")


@dataclass(frozen=True, slots=True)
class _CheckScreen:
    check: Check
    more: Sequence[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        glyphs = ASCII if options.ascii_only else UNICODE
        measured = evidence(self.check.probe)
        yield _verdict(self.check)
        yield spoken(joined(glyphs.dot, words.setting(self.check)), "dim")
        yield Text()
        yield spoken(words.growth(self.check.probe, measured.budget))
        for line in expected.sentences(self.check, measured.budget):
            yield spoken(line)
        rows = profile.rows(self.check, measured.budget)
        legend = (
            msg("; {mark} = named in a finding", mark=glyphs.mark)
            if any(r.marked for r in rows)
            else ""
        )
        if rows:
            yield spoken(
                msg("Norm by layer, log scale, relative to the output{legend}", legend=legend),
                "dim",
            )
            yield Padding(_bars(rows, glyphs, options.max_width - 2), (0, 0, 0, 2))
        shown = words.causes(measured.shares.by_cause)
        if shown and math.isfinite(measured.budget.total):
            line = joined(
                msg(", "), [joined(" ", (word, wording.factor(share))) for word, share in shown]
            )
            yield spoken(msg("By cause: {line}", line=line))
        lines = [words.gradient_norm(self.check), words.learning_rate(self.check.probe)]
        for line in (*(one for one in lines if one is not None), *self.more):
            yield spoken(line)
        yield from findings(self.check.findings, glyphs)
        for note in self.check.probe.notes:
            yield spoken(msg("Note: {note}", note=note), "dim")


def _verdict(check: Check) -> Text:
    return spoken(words.verdict(check), HOW[words.level(check)])


def _bars(rows: tuple[LayerRow, ...], glyphs: Glyphs, width: int) -> RenderableType:
    """Horizontal bars on a log scale, from an axis that is the norm at the output."""
    names = min(max((len(row.name) for row in rows), default=0), 28)
    span = max(width - names - 16, 8)
    finite = [row.log_norm for row in rows if math.isfinite(row.log_norm)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    spare = max(DRIFT - (high - low), 0.0) / 2
    low, high = low - spare, high + spare
    zero = round(span * -low / (high - low))
    table = Table.grid(padding=(0, 1))
    table.add_column(
        width=names, no_wrap=True, overflow="ellipsis" if glyphs is UNICODE else "crop"
    )
    table.add_column(width=span + 1, no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for row in rows:
        style = "red" if row.marked or not math.isfinite(row.log_norm) else ""
        cells = 0 if not math.isfinite(row.log_norm) else round(span * row.log_norm / (high - low))
        left = (glyphs.bar * -cells).rjust(zero) if cells < 0 else " " * zero
        bar = Text.assemble((left, style or "blue"), (glyphs.axis, "dim"))
        bar.append(glyphs.bar * max(cells, 0), style or "blue")
        table.add_row(
            spoken(row.name),
            bar,
            spoken(wording.factor(row.log_norm), style),
            Text(glyphs.mark if row.marked else "", style=style),
        )
    return table


def findings(found: Sequence[Finding], glyphs: Glyphs) -> Iterator[RenderableType]:
    """The findings, the first ones in full."""
    for rank, finding in enumerate(found, start=1):
        yield Text()
        yield _headline(rank, finding, glyphs)
        if rank <= _FULL:
            yield Padding(_details(finding), (0, 0, 0, 3))


def _headline(rank: int, finding: Finding, glyphs: Glyphs) -> RenderableType:
    tag = spoken(
        joined(" ", (finding.code, words.severity(finding.severity))), STYLE[finding.severity]
    )
    table = Table.grid(padding=(0, 1))
    table.add_row(Text(f"{rank}."), tag, Text(glyphs.dot.strip()), spoken(finding.title, "bold"))
    return table


def _details(finding: Finding) -> RenderableType:
    where = msg(", in {layers}", layers=wording.layers(finding.layers)) if finding.layers else ""
    lines: list[tuple[str, str]] = [(msg("cause"), words.cause(finding.cause) + where)]
    if finding.where is not None:
        lines.append((msg("line"), str(finding.where)))
    lines += _labelled(msg("seen"), words.facts(finding), _FACTS)
    lines += _labelled(msg("change"), finding.advice, len(finding.advice))
    lines += _labelled(
        words.echoing(finding), [joined(" ", (e.code, e.title)) for e in finding.echoes], _ECHOES
    )
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", width=max(6, *(width(label) for label, _ in lines)))
    table.add_column()
    for label, line in lines:
        table.add_row(spoken(label), spoken(line))
    return table


def _labelled(label: str, lines: Sequence[str], most: int) -> list[tuple[str, str]]:
    """The first lines, the label before the first of them, and how many more there are."""
    shown = [
        *lines[:most],
        *([msg("... and {number} more", number=len(lines) - most)] if len(lines) > most else []),
    ]
    return [(label if i == 0 else "", line) for i, line in enumerate(shown)]
