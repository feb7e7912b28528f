"""The charts of a check: the gradient over depth, its growth by operation and cause, updates, activations."""

from __future__ import annotations

import altair as alt

from evengrad.report import draw
from evengrad.report.draw import BAD, GREY, ODD, PLAIN, Rows, Spec, tooltip
from evengrad.values.message import msg, translated

CAUSES = {
    "initialisation": "#4a86d4",
    "activation": "#dd8a2e",
    "normalisation": "#2f9e77",
    "architecture": "#8d939e",
    "learning rate": "#8f6fd6",
    "input data": "#c77fb3",
    "loss head": "#b09a34",
    "precision": "#4fa5b5",
    "bad batch": "#dc4a4a",
}
_GROWTH = msg("decades (+ grows, - shrinks)")


def profile(rows: Rows) -> Spec:
    """Gradient norm over depth, log scale; within three decades of the output shaded."""
    base = draw.chart(rows).encode(x=draw.depth("operation", rows))
    title = msg("norm / norm at output")
    hover = tooltip("operation", "layer", norm=title, forecast=msg("forecast"))
    expected = base.transform_filter("isValid(datum.low) && isValid(datum.high)")
    expected = expected.mark_rule(color=draw.FORECAST, opacity=0.35, strokeWidth=7)
    expected = expected.encode(y=draw.powers("low", title), y2="high:Q")
    finite, y = draw.finite(base, "decades"), draw.powers("decades", title)
    line = finite.transform_filter("datum.cut").mark_line(color=PLAIN, strokeWidth=1.5).encode(y=y)
    points = finite.mark_circle().encode(
        y=y,
        color=alt.condition("datum.marked", alt.value(BAD), alt.value(PLAIN)),
        size=alt.condition("datum.marked", alt.value(70), alt.value(26)),
        opacity=alt.condition("datum.cut", alt.value(1.0), alt.value(0.45)),
        tooltip=hover,
    )
    gone = draw.crosses(base, "decades", hover)
    return draw.finished(280, draw.band(-3, 3), expected, line, points, gone)


def operations(rows: Rows) -> Spec:
    """Each operation's term of the budget, stacked by cause, in decades."""
    colours = {name: CAUSES[name] for name in draw.names("cause", rows)}
    bars = draw.chart(rows).mark_bar()
    bars = bars.encode(
        x=draw.depth("operation", rows),
        y=alt.Y("decades:Q", title=translated(_GROWTH)),
        color=draw.colour("cause", colours),
        tooltip=tooltip("operation", "cause", factor=msg("factor")),
    )
    return draw.finished(240, bars, draw.zero("y"))


def causes(rows: Rows) -> Spec:
    """The total growth by cause, in decades."""
    names, sizes = draw.names("cause", rows), [row["decades"] for row in rows]
    ends = alt.Scale(domain=[min(-0.5, *sizes), max(0.5, *sizes)])
    bars = draw.chart(rows).mark_bar(size=24)
    bars = bars.encode(
        x=alt.X("decades:Q", title=translated(_GROWTH), scale=ends),
        y=alt.Y(
            "cause:N", title=None, scale=alt.Scale(domain=[translated(name) for name in names])
        ),
        color=draw.colour("cause", {name: CAUSES[name] for name in names}, legend=False),
        tooltip=tooltip("cause", factor=msg("factor")),
    )
    return draw.finished(240, bars, draw.zero("x"))


def health(rows: Rows) -> Spec:
    """Shares of saturated, dead and zero outputs of each activation."""
    lines = draw.chart(rows).mark_line(point=alt.OverlayMarkDef(size=36), strokeWidth=1.2)
    lines = lines.encode(
        x=draw.depth("operation", rows),
        y=draw.share("share"),
        color=draw.colour(
            "measure", {msg("zeros"): GREY, msg("dead units"): BAD, msg("saturated"): ODD}
        ),
        tooltip=tooltip("operation", "measure", words=msg("share")),
    )
    return draw.finished(200, lines)


def updates(rows: Rows) -> Spec:
    """Rms of the coming update over rms of the weights; the usual 1e-4 to 1e-1 shaded
    (TheDeepChecker, 2204.00694).
    """
    base = draw.chart(rows).encode(x=draw.depth("weight", rows))
    title = msg("update / weight")
    hover = tooltip("weight", ratio=title)
    outside = alt.condition(
        "datum.decades < -4 || datum.decades > -1", alt.value(ODD), alt.value(PLAIN)
    )
    points = draw.finite(base, "decades").mark_circle(size=50, opacity=1)
    points = points.encode(y=draw.powers("decades", title), color=outside, tooltip=hover)
    return draw.finished(200, draw.band(-4, -1), points, draw.crosses(base, "decades", hover))
