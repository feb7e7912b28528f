"""The figures as tables, for the terminal and for docs/watching-cost.md."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table

from bench.watching import figures
from bench.watching.figures import Case, Interval, Row

HEADINGS = (
    "",
    "step",
    "adds (quartiles)",
    "CPU adds",
    "/ clip, ordinary steps",
    "/ clip, all steps",
    "goal",
    "host reads",
)
_EMPTY = ("",) * (len(HEADINGS) - 1)


@dataclass(frozen=True)
class Line:
    """A row of the table as text; ``good`` is None where no goal was set."""

    cells: tuple[str, ...]
    good: bool | None = None
    heading: bool = False


def lines(case: Case) -> list[Line]:
    """Both optimizers' rows, and a line for each that is missing."""
    found: list[Line] = []
    for fused in (False, True):
        rows = [r for r in case.rows if r.fused == fused]
        missing = [m for m in case.missing if m["fused"] == fused]
        if not rows and not missing:
            continue
        if any(r.fused for r in case.rows):
            title = "AdamW(fused=True)" if fused else "SGD(momentum=0.9), not fused"
            found.append(Line((title, *_EMPTY), heading=True))
        found += [_line(case, row) for row in rows]
        found += [Line((m["missing"], f"left out: {m['why']}", *_EMPTY[1:])) for m in missing]
    return found


def table(case: Case) -> Table:
    """For the terminal."""
    shown = Table(*HEADINGS, title=f"{case.name}: {case.about}", title_justify="left")
    for line in lines(case):
        style = {True: "green", False: "red", None: ""}[line.good]
        shown.add_row(*line.cells, style="bold" if line.heading else style)
    return shown


def markdown(case: Case) -> str:
    """For the page."""
    head = f"### {case.name}\n\n{case.about[:1].upper()}{case.about[1:]}.\n\n"
    rows = [HEADINGS, ("---",) + ("---:",) * len(_EMPTY)]
    rows += [
        tuple(f"**{c}**" if line.heading and c else c for c in line.cells) for line in lines(case)
    ]
    text = head + "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    return text + "".join(f"\n\nNote: {note}." for note in notes(case))


def notes(case: Case) -> list[str]:
    """What a reader must know beside the figures."""
    wrong = [f"{row.name}: {row.wrong}" for row in case.rows if row.wrong]
    return wrong + [f"evengrad said: {warning}" for warning in case.warnings]


def _line(case: Case, row: Row) -> Line:
    step = f"{figures.step_ms(row):.2f} ms"
    reads = figures.reads(case, row)
    counted = "" if reads is None else f"{reads[0]:.3g}, others {reads[1]:.3g}"
    if row.key == "bare":
        own = [n for counts in row.reads.values() for n in counts]
        counted = f"{sum(own) / len(own):.3g} of its own" if own else ""
        return Line((row.name, step, *_EMPTY[2:], counted))
    wall, cpu = figures.added_share(case, row), figures.added_share(case, row, "cpu")
    low, high = figures.quartiles(case, row)
    spread = f"({low * 100:+.1f} to {high * 100:+.1f})"
    ordinary = figures.against_clip(case, row, ordinary=True)
    ratio = figures.against_clip(case, row)
    goal, good = _goal(case, row, wall, ordinary)
    cells = (
        row.name,
        step,
        f"{_percent(wall.value)} {spread}",
        _percent(cpu.value),
        _ratio(case, row, ordinary),
        _ratio(case, row, ratio),
        goal,
        counted,
    )
    return Line(cells, good)


def _ratio(case: Case, row: Row, ratio: Interval | None) -> str:
    if ratio is None:
        return "" if case.clip(row) is None else "the clip's own cost drowns in noise"
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _goal(case: Case, row: Row, wall: Interval, ratio: Interval | None) -> tuple[str, bool | None]:
    """The clip's goals are about every step, so the ordinary ones decide; the watch's about all."""
    if row.key == "watch":
        text = f"< {figures.WATCH_GOAL:.0%}: {wall.met(figures.WATCH_GOAL)}"
        return text, wall.value < figures.WATCH_GOAL
    if ratio is None or case.name.startswith("keras"):
        return "", None
    limit = figures.GOALS[row.key, row.fused]
    return f"<= {limit}: {ratio.met(limit)}", ratio.value <= limit


def _percent(share: float) -> str:
    return f"{share * 100:+.1f}%"
