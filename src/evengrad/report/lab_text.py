"""An experiment as text: the tables of what was reached and of growth, and the claims."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from evengrad.fixing.lab.claims import JudgedClaim
from evengrad.fixing.lab.laboratory import Experiment
from evengrad.report import lab_rows
from evengrad.report.lab_rows import HeatCell
from evengrad.report.spoken import padded, width, written
from evengrad.values.message import joined, known_text, msg, translated

MARKS = {
    "holds": "+",
    "holds in part": "±",
    "does not hold": "-",
    "undecided": "?",
    "not measured": " ",
}


STANDINGS = {
    "holds": msg("holds"),
    "holds in part": msg("holds in part"),
    "does not hold": msg("does not hold"),
    "undecided": msg("undecided"),
    "not measured": msg("not measured"),
    "fails": msg("fails"),
}
_SCREEN = 112
_MANY = 4
_FIRST, _NEXT = " " * 10, " " * 17


def render(found: Experiment) -> str:
    """All of it."""
    lines: list[str] = [headline(found), ""]
    for subject in found.table.subjects:
        rows = lab_rows.places(found.table, subject.name)
        if rows:
            lines += [
                joined(msg(": "), (subject.name, reached_words(found))),
                *_table(rows, lab_rows.reached),
            ]
            lines += [
                joined(msg(": "), (subject.name, GROWTH_WORDS)),
                *_table(rows, lab_rows.growths),
            ]
    lines += [msg("Claims (+ holds, ± in part, - does not hold, ? the seeds do not tell):")]
    for judged in found.judged:
        lines += claim_lines(judged)
    return written(lines)


GROWTH_WORDS = msg("growth of the gradient from output to input, decades: first step → end")


def headline(found: Experiment) -> str:
    """How much was measured, in a sentence."""
    done, plan = len(found.table.measured), found.plan
    part = (
        "" if found.whole else msg(" of {planned} (the same call goes on)", planned=found.planned)
    )
    what = plan.script or msg("the article's CNN in {framework}", framework=framework(found))
    return msg(
        "{what}: {done}{part} trainings of {steps} steps, {seeds} seeds a cell.",
        what=what,
        done=done,
        part=part,
        steps=plan.steps,
        seeds=plan.seeds,
    )


def framework(found: Experiment) -> str:
    """In words."""
    plan = found.plan
    return (
        msg("Keras on {backend}", backend=plan.backend) if plan.framework == "keras" else "PyTorch"
    )


def reached_words(found: Experiment) -> str:
    """What the figures of the first table are."""
    if any(one.accuracy is not None for one in found.table.measured):
        return msg("accuracy on unseen examples, % ± sd over seeds (×: a loss was not finite)")
    return msg("share of the constant baseline's loss that is gone, % ± sd over seeds")


def claim_lines(judged: JudgedClaim) -> list[str]:
    """A claim: how it stands, and under which conditions."""
    claim, standing = judged.claim, judged.standing
    begin = f"{MARKS[standing]} {claim.section:<8}"
    lines: list[str] = [
        joined("", (begin, known_text(claim.title), msg(": "), STANDINGS[standing]))
    ]
    for answer in ("holds", "fails"):
        where = judged.where(answer)
        if where:
            said = str(translated(joined(msg(": "), (STANDINGS[answer], some(where)))))
            lines += textwrap.wrap(said, _SCREEN, initial_indent=_FIRST, subsequent_indent=_NEXT)
    return lines


def some(where: Sequence[str]) -> str:
    """Conditions, the first of them where they are many."""
    rest = len(where) - _MANY
    return joined(msg("; "), where[:_MANY]) + (
        msg("; and {rest} more", rest=rest) if rest > 0 else ""
    )


def _table(rows: list[list[HeatCell]], words: Callable[[HeatCell], str]) -> list[str]:
    """In as many blocks of columns as a screen needs."""
    names = ["", *(row[0].cause.name for row in rows)]
    columns = [
        [row[number].cure.name if n < 0 else words(row[number]) for n, row in _with_head(rows)]
        for number in range(len(rows[0]))
    ]
    lines: list[str] = []
    while columns:
        block = [names]
        while columns and _width([*block, columns[0]]) <= _SCREEN:
            block.append(columns.pop(0))
        lines += [*_lines(block), ""]
    return lines


def _with_head(rows: list[list[HeatCell]]) -> list[tuple[int, list[HeatCell]]]:
    return [(-1, rows[0]), *enumerate(rows)]


def _width(columns: list[list[str]]) -> int:
    return sum(2 + max(map(width, column)) for column in columns)


def _lines(columns: list[list[str]]) -> list[str]:
    widths = [max(map(width, column)) for column in columns]
    return [
        "  ".join(padded(text, size) for text, size in zip(line, widths, strict=True)).rstrip()
        for line in zip(*columns, strict=True)
    ]
