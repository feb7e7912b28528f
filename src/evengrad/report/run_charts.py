"""The charts of a run's page: rows of plain values in, a Vega-Lite specification out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evengrad.report.charts import BAD, GOOD, ODD, PLAIN, Spec, band, data, finished, powers
from evengrad.report.run_rows import BinRow, CellRow, EventRow, LineRow

_NUMBER = "datum.value >= 1e-3 && datum.value < 1e5 ? format(datum.value, '~g') : format(datum.value, '.0e')"
_GREY = "#8d939e"


def loss(rows: Sequence[BinRow], events: Sequence[EventRow]) -> Spec:
    """The loss: median and range of neighbouring steps; a log axis where it spans more than 30-fold."""
    values = [v for row in rows for v in (row["low"], row["high"]) if v is not None]
    log = bool(values) and min(values) > 0 and max(values) > 30 * min(values)
    return finished(_layered(*_series(rows, PLAIN, "loss", log), *_marks(events)), 240)


def norm(
    before: Sequence[BinRow],
    after: Sequence[BinRow],
    gone: Sequence[dict[str, float]],
    events: Sequence[EventRow],
) -> Spec:
    """The gradient norm before the clip and, where there is one, after it; ticks where it is not finite."""
    parts = _series(after, GOOD, "gradient norm", True) if after else []
    parts += _series(before, PLAIN, "gradient norm", True)
    return finished(_layered(*parts, *_gone(gone), *_marks(events)), 240)


def cells(rows: Sequence[CellRow], height: int | None = None) -> Spec:
    """A heat map: steps along, layers down, log10 of the gradient's rms as colour; red where not finite."""
    import altair as alt

    names = list(dict.fromkeys(row["layer"] for row in rows))
    base = alt.Chart(data(rows)).encode(
        x=_step(),
        x2="until:Q",
        y=alt.Y(
            "layer:N",
            title=None,
            scale=alt.Scale(domain=names, padding=0),
            axis=alt.Axis(
                labelLimit=150, labelOverlap="greedy", grid=False, domain=False, ticks=False
            ),
        ),
        tooltip=[
            alt.Tooltip("layer:N"),
            alt.Tooltip("step:Q", format=",.0f"),
            alt.Tooltip("told:N", title="gradient rms"),
        ],
    )
    legend = alt.Legend(title=None, labelExpr="format(pow(10, datum.value), '.0e')", orient="right")
    scale = alt.Scale(scheme="viridis", domain=_decades(rows))
    colour = alt.Color("decades:Q", scale=scale, legend=legend)
    good = base.transform_filter("!datum.bad").mark_rect().encode(color=colour)
    bad = base.transform_filter("datum.bad").mark_rect(color=BAD)
    return finished(alt.layer(good, bad), height or max(90, min(15 * len(names), 520)))


def _decades(rows: Sequence[CellRow]) -> list[float]:
    """The ends of the colours: at least two decades, so that noise stays one colour."""
    found = [row["decades"] for row in rows if row["decades"] is not None] or [0.0]
    low, high = min(found), max(found)
    spare = max(2.0 - (high - low), 0.0) / 2
    return [low - spare, high + spare]


def updates(rows: Sequence[LineRow]) -> Spec:
    """rms(update) / rms(weights) of the weight matrices; the usual 1e-4 to 1e-1 shaded (2204.00694)."""
    import altair as alt

    finite = alt.Chart(data(rows)).transform_filter("isValid(datum.value)")
    lines = finite.mark_line(strokeWidth=1.3, opacity=0.85).encode(
        x=_step(),
        y=alt.Y("value:Q", title="update / weight", axis=powers(), scale=alt.Scale(zero=False)),
        color=alt.Color(
            "index:Q",
            scale=alt.Scale(domain=[0, 1], range=["#1f4e8c", "#4a86d4", "#dd8a2e"]),
            legend=None,
        ),
        detail="layer:N",
        tooltip=[alt.Tooltip("layer:N"), alt.Tooltip("step:Q", format=",.0f")],
    )
    return finished(alt.layer(band(-4, -1), lines), 220)


def activations(rows: Sequence[LineRow]) -> Spec:
    """Dead units and saturated outputs, a line for each activation."""
    import altair as alt

    lines = alt.Chart(data(rows)).mark_line(strokeWidth=1.3, opacity=0.8)
    lines = lines.encode(
        x=_step(),
        y=alt.Y(
            "value:Q", title="share", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])
        ),
        color=alt.Color(
            "measure:N",
            legend=alt.Legend(title=None, orient="top"),
            scale=alt.Scale(domain=["dead units", "saturated"], range=[BAD, ODD]),
        ),
        detail="layer:N",
        tooltip=[
            alt.Tooltip("layer:N"),
            alt.Tooltip("measure:N"),
            alt.Tooltip("value:Q", format=".0%"),
            alt.Tooltip("step:Q", format=",.0f"),
        ],
    )
    return finished(lines, 220)


def _series(rows: Sequence[BinRow], colour: str, title: str, log: bool) -> list[Any]:
    """A line of medians in the band from the smallest to the largest."""
    import altair as alt

    scale = alt.Scale(type="log", nice=False) if log else alt.Scale(zero=False)
    axis = alt.Axis(labelExpr=_NUMBER, tickCount=5, labelOverlap="greedy", labelSeparation=6)
    base = alt.Chart(data(rows)).encode(x=_step())
    finite = base.transform_filter("isValid(datum.value)")
    band = finite.mark_area(color=colour, opacity=0.22).encode(
        y=alt.Y("low:Q", title=title, scale=scale, axis=axis), y2="high:Q"
    )
    single = len(rows) < 2  # a line of one point is none
    line = finite.mark_line(color=colour, strokeWidth=1.5, point=single).encode(
        y=alt.Y("value:Q", title=title, scale=scale, axis=axis),
        tooltip=[
            alt.Tooltip("step:Q", format=",.0f"),
            alt.Tooltip("value:Q", title=title, format=".4~g"),
            alt.Tooltip("low:Q", title="smallest", format=".4~g"),
            alt.Tooltip("high:Q", title="largest", format=".4~g"),
        ],
    )
    return [band, line]


def _gone(rows: Sequence[dict[str, float]]) -> list[Any]:
    """Ticks along the top for what is not finite: it is data, too."""
    import altair as alt

    if not rows:
        return []
    ticks = alt.Chart(data(rows)).mark_tick(
        color=BAD, thickness=2, size=14, orient="vertical", opacity=1
    )
    tooltip = [
        alt.Tooltip("step:Q", format=",.0f"),
        alt.Tooltip("count:Q", title="steps not finite", format=",.0f"),
    ]
    return [ticks.encode(x=_step(), y=alt.value(7), tooltip=tooltip)]


def _marks(rows: Sequence[EventRow]) -> list[Any]:
    """A dashed line at each event."""
    import altair as alt

    if not rows:
        return []
    rules = alt.Chart(data(rows)).mark_rule(strokeDash=[3, 3], strokeWidth=1.2)
    return [
        rules.encode(
            x=_step(),
            color=alt.condition("datum.bad", alt.value(BAD), alt.value(_GREY)),
            tooltip=[alt.Tooltip("step:Q"), alt.Tooltip("kind:N"), alt.Tooltip("message:N")],
        )
    ]


def _step() -> Any:
    import altair as alt

    axis = alt.Axis(format=",d", tickCount=8, grid=False, tickMinStep=1)
    return alt.X("step:Q", title="step", axis=axis, scale=alt.Scale(zero=False, nice=False))


def _layered(*parts: Any) -> Any:
    import altair as alt

    return alt.layer(*parts)
