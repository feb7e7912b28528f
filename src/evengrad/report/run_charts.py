"""The charts of a run: loss and gradient norm, the gradient by layer, updates, activations."""

from __future__ import annotations

from typing import Any

import altair as alt

from evengrad.report import draw
from evengrad.report.draw import BAD, GOOD, GREY, ODD, PLAIN, Rows, Spec, tooltip
from evengrad.values.message import msg, translated

_NUMBER = "datum.value >= 1e-3 && datum.value < 1e5 ? format(datum.value, '~g') : format(datum.value, '.0e')"


def loss(rows: Rows, events: Rows) -> Spec:
    """The loss: median and range of neighbouring steps; a log axis where it spans more than 30-fold."""
    values = [v for row in rows for v in (row["low"], row["high"]) if v is not None]
    series = _series(rows, PLAIN, msg("loss"), draw.spans_decades(values))
    return draw.finished(240, alt.layer(*series, *_marks(events)))


def norm(before: Rows, after: Rows, gone: Rows, events: Rows) -> Spec:
    """The gradient norm before the clip and, where there is one, after it; ticks where it is not finite."""
    parts = _series(after, GOOD, msg("gradient norm"), True) if after else []
    parts += _series(before, PLAIN, msg("gradient norm"), True)
    return draw.finished(240, alt.layer(*parts, *_gone(gone), *_marks(events)))


def cells(rows: Rows) -> Spec:
    """A heat map: steps along, layers down, log10 of the gradient's rms as colour; red where not finite."""
    names = draw.names("layer", rows)
    axis = alt.Axis(labelLimit=150, labelOverlap="greedy", grid=False, domain=False, ticks=False)
    base = draw.chart(rows).encode(
        x=draw.step(),
        x2="until:Q",
        y=alt.Y("layer:N", title=None, scale=alt.Scale(domain=names, padding=0), axis=axis),
        tooltip=tooltip("layer", "step", words=msg("gradient rms")),
    )
    legend = alt.Legend(title=None, labelExpr="format(pow(10, datum.value), '.0e')", orient="right")
    scale = alt.Scale(scheme="viridis", domain=_decades(rows))
    colour = alt.Color("decades:Q", scale=scale, legend=legend)
    good = base.transform_filter("!datum.bad").mark_rect().encode(color=colour)
    bad = base.transform_filter("datum.bad").mark_rect(color=BAD)
    return draw.finished(max(90, min(15 * len(names), 520)), good, bad)


def _decades(rows: Rows) -> list[float]:
    """The ends of the colours: at least two decades, so that noise stays one colour."""
    found = [row["decades"] for row in rows if row["decades"] is not None] or [0.0]
    low, high = min(found), max(found)
    spare = max(2.0 - (high - low), 0.0) / 2
    return [low - spare, high + spare]


def updates(rows: Rows) -> Spec:
    """rms(update) / rms(weights) of the weight matrices; the usual 1e-4 to 1e-1 shaded (2204.00694)."""
    depth = alt.Scale(domain=[0, 1], range=["#1f4e8c", PLAIN, ODD])
    lines = draw.finite(draw.chart(rows), "value").mark_line(strokeWidth=1.3, opacity=0.85)
    lines = lines.encode(
        x=draw.step(),
        y=draw.powers("value", msg("update / weight"), zero=False),
        color=alt.Color("index:Q", scale=depth, legend=None),
        detail="layer:N",
        tooltip=tooltip("layer", "step"),
    )
    return draw.finished(220, draw.band(-4, -1), lines)


def activations(rows: Rows) -> Spec:
    """Dead units and saturated outputs, a line for each activation."""
    lines = draw.chart(rows).mark_line(strokeWidth=1.3, opacity=0.8)
    lines = lines.encode(
        x=draw.step(),
        y=draw.share("value"),
        color=draw.colour("measure", {msg("dead units"): BAD, msg("saturated"): ODD}),
        detail="layer:N",
        tooltip=[
            *tooltip("layer", "measure", "step"),
            alt.Tooltip("value:Q", format=".0%", title=translated(msg("share"))),
        ],
    )
    return draw.finished(220, lines)


def _series(rows: Rows, colour: str, title: str, log: bool) -> list[Any]:
    """A line of medians in the band from the smallest to the largest."""
    axis = alt.Axis(labelExpr=_NUMBER, tickCount=5, labelOverlap="greedy", labelSeparation=6)
    scale = alt.Scale(type="log", nice=False) if log else alt.Scale(zero=False)
    y = {"title": translated(title), "scale": scale, "axis": axis}
    finite = draw.finite(draw.chart(rows).encode(x=draw.step()), "value")
    reach = finite.mark_area(color=colour, opacity=0.22).encode(y=alt.Y("low:Q", **y), y2="high:Q")
    figures = {"value": title, "low": msg("smallest"), "high": msg("largest")}
    hover = [
        alt.Tooltip(f"{f}:Q", title=translated(text), format=".4~g") for f, text in figures.items()
    ]
    single = len(rows) < 2  # a line of one point is none
    line = finite.mark_line(color=colour, strokeWidth=1.5, point=single)
    return [reach, line.encode(y=alt.Y("value:Q", **y), tooltip=[*tooltip("step"), *hover])]


def _gone(rows: Rows) -> list[Any]:
    """Ticks along the top for what is not finite: it is data, too."""
    if not rows:
        return []
    mark = {"color": BAD, "thickness": 2, "size": 14, "orient": "vertical", "opacity": 1}
    count = alt.Tooltip("count:Q", title=translated(msg("steps not finite")), format=",.0f")
    ticks = draw.chart(rows).mark_tick(**mark)
    return [ticks.encode(x=draw.step(), y=alt.value(7), tooltip=[*tooltip("step"), count])]


def _marks(rows: Rows) -> list[Any]:
    """A dashed line at each event."""
    if not rows:
        return []
    rules = draw.chart(rows).mark_rule(strokeDash=[3, 3], strokeWidth=1.2)
    colour = alt.condition("datum.bad", alt.value(BAD), alt.value(GREY))
    return [rules.encode(x=draw.step(), color=colour, tooltip=tooltip("step", "kind", "message"))]
