"""The page's charts: rows of plain values in, a Vega-Lite specification out.

The same specification makes a PNG or SVG: ``vl_convert.vegalite_to_png(spec)``. Altair is imported
inside the functions, so that importing evengrad loads no plotting library. Text and grid take their
colours from the page (light or dark); the colours here are read on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evengrad.report.rows import BarRow, HealthRow, ProfileRow, UpdateRow

PLAIN = "#4a86d4"
BAD = "#dc4a4a"
ODD = "#dd8a2e"
GOOD = "#2f9e77"
FORECAST = "#8f6fd6"
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
_BAND = {"color": GOOD, "opacity": 0.13}
_POWER = "'1e' + datum.value"

Spec = dict[str, Any]


def profile(rows: Sequence[ProfileRow]) -> Spec:
    """Gradient norm over depth, log scale; within three decades of the output shaded."""
    import altair as alt

    base = alt.Chart(data(rows)).encode(x=_depth("operation", [row["operation"] for row in rows]))
    y = alt.Y("decades:Q", title="norm / norm at output", axis=powers())
    tooltip = _tooltip("operation", "layer", norm="norm / norm at output", forecast="forecast")
    forecast = (
        base.transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_rule(color=FORECAST, opacity=0.35, strokeWidth=7)
        .encode(y=alt.Y("low:Q", title="norm / norm at output", axis=powers()), y2="high:Q")
    )
    finite = base.transform_filter("isValid(datum.decades)")
    line = finite.transform_filter("datum.cut").mark_line(color=PLAIN, strokeWidth=1.5).encode(y=y)
    points = finite.mark_circle().encode(
        y=y,
        color=alt.condition("datum.marked", alt.value(BAD), alt.value(PLAIN)),
        size=alt.condition("datum.marked", alt.value(70), alt.value(26)),
        opacity=alt.condition("datum.cut", alt.value(1.0), alt.value(0.45)),
        tooltip=tooltip,
    )
    gone = (
        base.transform_filter("!isValid(datum.decades)")
        .mark_point(shape="cross", angle=45, filled=True, size=80, color=BAD, opacity=1)
        .encode(y=alt.value("height"), tooltip=tooltip)
    )
    return finished(alt.layer(band(-3, 3), forecast, line, points, gone), 280)


def operations(rows: Sequence[BarRow]) -> Spec:
    """Each operation's term of the budget, stacked by cause, in decades."""
    import altair as alt

    names = list(dict.fromkeys(row["operation"] for row in rows))
    bars = alt.Chart(data(rows)).mark_bar()
    bars = bars.encode(
        x=_depth("operation", names),
        y=alt.Y("decades:Q", title="decades (+ grows, - shrinks)"),
        color=_cause_colour(list(dict.fromkeys(row["cause"] for row in rows))),
        tooltip=_tooltip("operation", "cause", factor="factor"),
    )
    return finished(alt.layer(bars, _rule(0)), 240)


def causes(rows: Sequence[BarRow]) -> Spec:
    """The total growth by cause, in decades."""
    import altair as alt

    names = [row["cause"] for row in rows]
    sizes = [row["decades"] for row in rows]
    ends = [min(-0.5, *sizes), max(0.5, *sizes)]
    base = alt.Chart(data(rows)).encode(
        x=alt.X("decades:Q", title="decades (+ grows, - shrinks)", scale=alt.Scale(domain=ends)),
        y=alt.Y("cause:N", title=None, scale=alt.Scale(domain=names)),
        tooltip=_tooltip("cause", factor="factor"),
    )
    bars = base.mark_bar(size=24).encode(color=_cause_colour(names, legend=False))
    return finished(alt.layer(bars, _upright(0)), 240)


def health(rows: Sequence[HealthRow]) -> Spec:
    """Shares of saturated, dead and zero outputs of each activation."""
    import altair as alt

    names = list(dict.fromkeys(row["operation"] for row in rows))
    measures = ["zeros", "dead units", "saturated"]
    lines = alt.Chart(data(rows)).mark_line(point=alt.OverlayMarkDef(size=36), strokeWidth=1.2)
    lines = lines.encode(
        x=_depth("operation", names),
        y=alt.Y(
            "share:Q",
            title="share",
            axis=alt.Axis(format="%"),
            scale=alt.Scale(domain=[0, 1]),
        ),
        color=alt.Color(
            "measure:N",
            legend=alt.Legend(title=None, orient="top"),
            scale=alt.Scale(domain=measures, range=[CAUSES["architecture"], BAD, ODD]),
        ),
        tooltip=_tooltip("operation", "measure", told="share"),
    )
    return finished(lines, 200)


def updates(rows: Sequence[UpdateRow]) -> Spec:
    """Rms of the coming update over rms of the weights; the usual 1e-4 to 1e-1 shaded
    (TheDeepChecker, 2204.00694).
    """
    import altair as alt

    base = alt.Chart(data(rows)).encode(x=_depth("weight", [row["weight"] for row in rows]))
    tooltip = _tooltip("weight", ratio="update / weight")
    points = (
        base.transform_filter("isValid(datum.decades)")
        .mark_circle(size=50, opacity=1)
        .encode(
            y=alt.Y("decades:Q", title="update / weight", axis=powers()),
            color=alt.condition(
                "datum.decades < -4 || datum.decades > -1", alt.value(ODD), alt.value(PLAIN)
            ),
            tooltip=tooltip,
        )
    )
    gone = (
        base.transform_filter("!isValid(datum.decades)")
        .mark_point(shape="cross", angle=45, filled=True, size=80, color=BAD, opacity=1)
        .encode(y=alt.value("height"), tooltip=tooltip)
    )
    return finished(alt.layer(band(-4, -1), points, gone), 200)


def data(rows: Sequence[Any]) -> Any:
    import altair as alt

    return alt.Data(values=[dict(row) for row in rows])


def _depth(field: str, names: list[str]) -> Any:
    """The x axis: names in forward order, as many labels as there is room for."""
    import altair as alt

    axis = alt.Axis(labelAngle=-40, labelOverlap="greedy", labelLimit=120, labelSeparation=6)
    return alt.X(f"{field}:N", title=None, scale=alt.Scale(domain=names), axis=axis)


def powers() -> Any:
    import altair as alt

    return alt.Axis(labelExpr=_POWER, tickMinStep=1)


def band(low: float, high: float) -> Any:
    import altair as alt

    data = alt.Data(values=[{"low": low, "high": high}])
    return alt.Chart(data).mark_rect(**_BAND).encode(y="low:Q", y2="high:Q")


def _rule(at: float) -> Any:
    import altair as alt

    return alt.Chart(alt.Data(values=[{"at": at}])).mark_rule(color="#8d939e").encode(y="at:Q")


def _upright(at: float) -> Any:
    import altair as alt

    return alt.Chart(alt.Data(values=[{"at": at}])).mark_rule(color="#8d939e").encode(x="at:Q")


def _tooltip(*fields: str, **titled: str) -> list[Any]:
    import altair as alt

    plain = [alt.Tooltip(f"{field}:N") for field in fields]
    return plain + [alt.Tooltip(f"{field}:N", title=title) for field, title in titled.items()]


def _cause_colour(names: list[str], *, legend: bool = True) -> Any:
    import altair as alt

    return alt.Color(
        "cause:N",
        scale=alt.Scale(domain=names, range=[CAUSES[name] for name in names]),
        legend=alt.Legend(title=None, orient="top") if legend else None,
    )


def finished(chart: Any, height: int) -> Spec:
    """Container-wide, transparent, and free of numbers that JSON cannot hold."""
    sized = chart.properties(width="container", height=height, background="transparent")
    config = {
        "view": {"stroke": None},
        "axis": {"gridColor": "#8d939e33", "domainColor": "#8d939e", "tickColor": "#8d939e"},
        "font": "system-ui, sans-serif",
    }
    spec: Spec = sized.properties(autosize={"type": "fit-x", "contains": "padding"}).to_dict()
    return spec | {"config": config}
