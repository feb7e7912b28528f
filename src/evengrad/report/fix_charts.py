"""The charts of a fix: losses of all trials, and the gradient's profile before and after."""

from __future__ import annotations

import json
import math
from typing import Any

import altair as alt

from evengrad.fixing.outcome import Attempt, Fixing
from evengrad.report import draw
from evengrad.report.draw import BAD, GOOD, GREY, Rows, Spec
from evengrad.values.message import joined, msg, translated

_AS_IT_IS, _FIXED, _OTHER = msg("as it is"), msg("fixed"), msg("other trials")
_COLOURS = {_AS_IT_IS: BAD, _FIXED: GOOD, _OTHER: GREY}
_START, _END = msg("first step"), msg("at the end")
_POINTS, _FEW, _NAMED = 200, 5, 12


def losses(found: Fixing) -> Spec | None:
    """A line for each trial; dashed: the constant baseline."""
    rows = [row for kind, attempt in _all(found) for row in _curve(kind, attempt)]
    if not rows:
        return None
    log = draw.spans_decades([row["loss"] for row in rows])
    encoding = {
        "y": alt.Y(
            "loss:Q",
            title=translated(msg("loss")),
            scale=alt.Scale(type="log" if log else "linear", zero=False),
        ),
        "color": _colour(rows),
        "tooltip": ["trial:N", "step:Q", alt.Tooltip("loss:Q", format=".4g")],
    }
    opacity = alt.condition(f"datum.kind == '{translated(_OTHER)}'", alt.value(0.4), alt.value(0.9))
    x = alt.X("step:Q", title=translated(msg("step")), axis=alt.Axis(grid=False))
    lines = draw.chart(rows).mark_line(strokeWidth=1.4)
    lines = lines.encode(x=x, opacity=opacity, detail="trial:N", **encoding)
    single = draw.chart([row for row in rows if row["only"]]).mark_point(filled=True, size=60)
    parts = [lines, single.encode(x=x, **encoding)]
    baselines = [a.result.baseline for _, a in _all(found) if a.result.baseline is not None]
    if baselines:
        rule = draw.chart([{"baseline": baselines[0]}]).mark_rule(strokeDash=[4, 4], color=GREY)
        parts.append(rule.encode(y="baseline:Q"))
    return draw.finished(260, *parts)


def profile(found: Fixing) -> Spec | None:
    """Rms of each weight matrix's gradient in the first step of a trial and at its end, log scale, forward
    order; what is 0 has no place there.
    """
    ends = [(_AS_IT_IS, attempt) for attempt in found.plain[:1]]
    ends += [(_FIXED, attempt) for attempt in found.proof[-1:]]
    rows = [
        {
            "kind": kind,
            "when": when,
            "line": joined(msg(", "), (kind, when)),
            "layer": layer,
            "place": place,
            "decades": math.log10(rms),
        }
        for kind, attempt in ends
        for when, profile in (
            (_START, attempt.result.profile_at_start),
            (_END, attempt.result.profile),
        )
        for place, (layer, rms) in enumerate(profile)
        if rms > 0
    ]
    if not rows:
        return None
    dash = alt.Scale(domain=[translated(_START), translated(_END)], range=[[4, 3], [1, 0]])
    lines = draw.chart(rows).mark_line(strokeWidth=1.5, point=True)
    lines = lines.encode(
        x=alt.X(
            "place:O", title=translated(msg("weight matrices, forward order")), axis=_layers(rows)
        ),
        y=draw.powers("decades", msg("gradient rms"), zero=False),
        color=_colour(rows),
        strokeDash=alt.StrokeDash("when:N", scale=dash, legend=None),
        detail="line:N",
        tooltip=["line:N", "layer:N", alt.Tooltip("decades:Q", title="log10", format=".3g")],
    )
    return draw.finished(220, lines)


def _all(found: Fixing) -> list[tuple[str, Attempt]]:
    other = [(_OTHER, a) for a in found.attempts if not _is_chosen(found, a)]
    chosen = [(_FIXED, a) for a in (*found.attempts, *found.proof) if _is_chosen(found, a)]
    return [*other, *((_AS_IT_IS, a) for a in found.plain), *chosen]


def _is_chosen(found: Fixing, attempt: Attempt) -> bool:
    return found.chosen is not None and attempt.candidate == found.chosen


def _curve(kind: str, attempt: Attempt) -> list[dict[str, Any]]:
    values = attempt.result.losses
    name = msg("as it is") if attempt.candidate is None else attempt.candidate.remedy
    if attempt.patched:
        name = joined(msg(", "), (name, msg("patched")))
    name = joined(msg(", "), (name, msg("seed {seed}", seed=attempt.seed)))
    only = len(values) < _FEW
    return [
        {"kind": kind, "trial": name, "step": step, "loss": values[step], "only": only}
        for step in range(0, len(values), -(-len(values) // _POINTS) or 1)
        if math.isfinite(values[step])
    ]


def _layers(rows: Rows) -> Any:
    """Their names on the axis, where there is room for them."""
    names = {row["place"]: row["layer"] for row in rows}
    if len(names) > _NAMED:
        return alt.Axis(labels=False)
    words = json.dumps({str(place): name for place, name in names.items()})
    return alt.Axis(labelExpr=f"{words}[datum.value]", labelAngle=-35, labelLimit=90)


def _colour(rows: Rows) -> Any:
    kinds = set(draw.names("kind", rows))
    return draw.colour("kind", {kind: _COLOURS[kind] for kind in _COLOURS if kind in kinds})
