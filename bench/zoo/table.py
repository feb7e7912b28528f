"""Verdicts as tables: on the screen, and as Markdown."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
from rich.table import Table

from bench.zoo.judge import Figures, Row, Verdict, figures

HEADINGS = (
    "gain median",
    "gain 95%",
    "level median",
    "level 95%",
    "seeds' scatter",
    "median seed",
    "below",
    "inside",
    "above",
)


def cells(found: Figures) -> list[str]:
    """As in HEADINGS; errors in log10, shares in percent."""
    errors = (found.gain_error, found.gain_error_95, found.seed_error, found.seed_error_95)
    shares = (found.below, found.inside, found.above)
    return [f"{e:.3f}" for e in (*errors, found.scatter, found.level_error)] + [
        f"{100 * s:.1f}%" for s in shares
    ]


def groups(verdicts: list[Verdict]) -> dict[str, list[Verdict]]:
    """The lines under the table: development, held-out and real apart, and the zoo by framework."""
    found: dict[str, list[Verdict]] = defaultdict(list)
    for v in verdicts:
        found[v.half].append(v)
    zoo = [v for v in verdicts if v.half != "real"]
    if len({v.half for v in zoo}) > 1:
        found["zoo, all"] = zoo
        for framework in sorted({v.framework for v in zoo}):
            found[f"zoo, {framework}"] = [v for v in zoo if v.framework == framework]
    return dict(found)


def by_error(verdicts: list[Verdict]) -> list[Verdict]:
    """The worst last: by the error of the seeds' median level."""
    return sorted(verdicts, key=lambda v: figures([v]).level_error if v.rows else np.inf)


def overview(verdicts: list[Verdict]) -> Table:
    """A line an architecture, then the groups."""
    table = Table(title="|log10(measured / forecast)| of gains and levels; share of the band")
    table.add_column("architecture", no_wrap=True)
    table.add_column("half")
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    table.add_column("", no_wrap=True)
    for v in by_error(verdicts):
        remark = "failed" if v.error else f"{len(v.notes)} notes" if v.notes else ""
        found = figures([v])
        if not v.error and found.missing:
            remark += f" {100 * found.missing:.0f}% missing"
        table.add_row(
            v.architecture, v.half, *(cells(found) if v.rows else [""] * len(HEADINGS)), remark
        )
    table.add_section()
    for name, members in groups(verdicts).items():
        failed = sum(v.error is not None for v in members)
        remark = f"{failed} of {len(members)} failed" if failed else f"{len(members)}"
        table.add_row(name, "", *cells(figures(members)), remark)
    return table


def detail(v: Verdict) -> Table:
    """One architecture, an operation a line, from the inputs up; natural logarithms."""
    table = Table(title=f"{v.architecture}: {v.about} (natural log)")
    table.add_column("operation", no_wrap=True)
    for heading in ("forecast level", "measured (median, min, max)", "in band"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("gain", "measured", "off by"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in v.rows:
        table.add_row(row.operation, *_level_cells(row), *_gain_cells(row))
    return table


def _level_cells(row: Row) -> list[str]:
    middle = f"{np.median(row.levels):.2f} [{min(row.levels):.2f}, {max(row.levels):.2f}]"
    if row.level is None:
        return ["none", middle, ""]
    low, median, high = row.level
    inside = sum(low - 1e-5 <= m <= high + 1e-5 for m in row.levels)
    share = f"{inside}/{len(row.levels)}"
    colour = "red" if inside < 0.7 * len(row.levels) else "default"
    return [f"{median:.2f} [{low:.2f}, {high:.2f}]", middle, f"[{colour}]{share}[/]"]


def _gain_cells(row: Row) -> list[str]:
    measured = float(np.median(row.gains))
    if row.gain is None:
        return ["", "" if np.isnan(measured) else f"{measured:.3f}", ""]
    off = measured - row.gain[1]
    colour = "red" if abs(off) > 0.1 else "default"
    return [f"{row.gain[1]:.3f}", f"{measured:.3f}", f"[{colour}]{off:+.3f}[/]"]


def by_operation(verdicts: list[Verdict]) -> Table:
    """Which kind and type of operation the gains are wrong at; natural logarithms, signed."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    where: dict[tuple[str, str], tuple[float, str]] = {}
    for v in verdicts:
        for row in v.rows:
            if row.gain is None:
                continue
            off = float(np.median(row.gains)) - row.gain[1]
            key = row.kind, row.type
            found[key].append(off)
            worst = where.get(key, (0.0, ""))
            where[key] = max(worst, (abs(off), f"{v.architecture} {row.operation}"))
    table = Table(title="gain of the median seed - forecast, by operation (natural log)")
    for heading in ("kind", "type", "count", "mean", "median size", "95% size", "worst", "where"):
        table.add_column(heading, no_wrap=True)
    for key, offs in sorted(found.items(), key=lambda i: -float(np.mean(np.abs(i[1])))):
        sizes = np.abs(offs)
        figures_ = (np.mean(offs), np.median(sizes), np.quantile(sizes, 0.95), where[key][0])
        table.add_row(*key, str(len(offs)), *(f"{f:.3f}" for f in figures_), where[key][1])
    return table


def markdown(verdicts: list[Verdict], seeds: int) -> str:
    """The tables of docs/forecast.md."""
    lines = [f"{seeds} seeds each.", ""]
    head = ["", *HEADINGS]
    lines += [_line(head), _line(["---"] + ["---:"] * len(HEADINGS))]
    for name, members in groups(verdicts).items():
        lines += [_line([f"**{name}** ({len(members)})", *cells(figures(members))])]
    for title, half in (
        ("Development", "development"),
        ("Held out", "held-out"),
        ("Real models", "real"),
    ):
        chosen = [v for v in verdicts if v.half == half]
        if not chosen:
            continue
        lines += ["", f"### {title}", "", _line(["architecture", *HEADINGS])]
        lines += [_line(["---"] + ["---:"] * len(HEADINGS))]
        for v in reversed(by_error(chosen)):
            about = f"`{v.architecture}` {v.about}"
            if v.error:
                lines += [_line([about, f"no forecast: {v.error}", *[""] * (len(HEADINGS) - 1)])]
                continue
            few = len(v.rows[0].levels) if v.rows else 0
            about += f" ({few} seeds)" if few != seeds else ""
            lines += [_line([about, *cells(figures([v]))])]
    return "\n".join(lines)


def _line(parts: list[str]) -> str:
    return "| " + " | ".join(part.replace("|", "/") for part in parts) + " |"


def without_rows(v: Verdict) -> Verdict:
    """For a short JSON."""
    return replace(v, rows=())
