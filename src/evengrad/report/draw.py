"""What the charts of all pages are made of: rows of plain values in, a Vega-Lite specification out.

The same specification makes a PNG or SVG: ``vl_convert.vegalite_to_png(spec)``. Imported only to draw, for
Altair's sake. Text and grid take their colours from the page (light or dark); those here are read on both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from evengrad.values.message import msg, translated

PLAIN, BAD, ODD, GOOD, FORECAST, GREY = (
    "#4a86d4", "#dc4a4a", "#dd8a2e", "#2f9e77", "#8f6fd6", "#8d939e"
)  # fmt: skip

FONT = 'system-ui, "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", sans-serif'

Rows = Sequence[Mapping[str, Any]]
Spec = dict[str, Any]


_FIELDS = {
    "operation": msg("operation"),
    "layer": msg("layer"),
    "cause": msg("cause"),
    "measure": msg("measure"),
    "step": msg("step"),
    "kind": msg("kind"),
    "message": msg("message"),
    "weight": msg("weight"),
}
"""Names of fields as hovering shows them."""


def chart(rows: Rows) -> Any:
    """A chart of these rows, without a mark yet."""
    return alt.Chart(
        alt.Data(values=[{name: translated(value) for name, value in row.items()} for row in rows])
    )


def finished(height: float, *layers: Any) -> Spec:
    """Container-wide, transparent, and free of numbers that JSON cannot hold."""
    drawn = layers[0] if len(layers) == 1 else alt.layer(*layers)
    sized = drawn.properties(width="container", height=height, background="transparent")
    config = {
        "view": {"stroke": None},
        "axis": {"gridColor": f"{GREY}33", "domainColor": GREY, "tickColor": GREY},
        "font": FONT,
    }
    spec: Spec = sized.properties(autosize={"type": "fit-x", "contains": "padding"}).to_dict()
    return spec | {"config": config}


def depth(field: str, rows: Rows) -> Any:
    """The x axis: names in forward order, as many labels as there is room for."""
    axis = alt.Axis(labelAngle=-40, labelOverlap="greedy", labelLimit=120, labelSeparation=6)
    return alt.X(f"{field}:N", title=None, scale=_domain(field, rows), axis=axis)


def names(field: str, rows: Rows) -> list[str]:
    """What the rows have in this field, each once, in order."""
    return list(dict.fromkeys(row[field] for row in rows))


def step() -> Any:
    """The x axis of a training."""
    axis = alt.Axis(format=",d", tickCount=8, grid=False, tickMinStep=1)
    return alt.X(
        "step:Q", title=translated(msg("step")), axis=axis, scale=alt.Scale(zero=False, nice=False)
    )


def powers(field: str, title: str, **scale: Any) -> Any:
    """A y axis of log10, labelled with powers of ten."""
    whole = "datum.value == floor(datum.value)"
    words = f"{whole} ? '1e' + datum.value : format(pow(10, datum.value), '.1~e')"
    axis = alt.Axis(labelExpr=words, tickMinStep=1)
    return alt.Y(f"{field}:Q", title=translated(title), axis=axis, scale=alt.Scale(**scale))


def share(field: str) -> Any:
    """A y axis from 0 to 100%."""
    scale = alt.Scale(domain=[0, 1])
    return alt.Y(
        f"{field}:Q", title=translated(msg("share")), axis=alt.Axis(format="%"), scale=scale
    )


def colour(field: str, colours: Mapping[str, str], *, legend: bool = True) -> Any:
    """A colour for each name, with a legend above."""
    scale = alt.Scale(domain=[translated(name) for name in colours], range=list(colours.values()))
    above = alt.Legend(title=None, orient="top") if legend else None
    return alt.Color(f"{field}:N", scale=scale, legend=above)


def _domain(field: str, rows: Rows) -> Any:
    return alt.Scale(domain=[translated(name) for name in names(field, rows)])


def _field(name: str) -> str:
    return str(translated(_FIELDS.get(name, name)))


def tooltip(*fields: str, **titled: str) -> list[Any]:
    """What hovering says: fields under their own names, or under titles; steps with their thousands."""
    plain = [
        alt.Tooltip("step:Q", format=",.0f", title=_field(field))
        if field == "step"
        else alt.Tooltip(f"{field}:N", title=_field(field))
        for field in fields
    ]
    return plain + [
        alt.Tooltip(f"{field}:N", title=translated(title)) for field, title in titled.items()
    ]


def band(low: float, high: float) -> Any:
    """What is usual, shaded."""
    drawn = chart([{"low": low, "high": high}]).mark_rect(color=GOOD, opacity=0.13)
    return drawn.encode(y="low:Q", y2="high:Q")


def zero(axis: str) -> Any:
    """A line where nothing grows or shrinks."""
    return chart([{"at": 0}]).mark_rule(color=GREY).encode(**{axis: "at:Q"})


def finite(base: Any, field: str) -> Any:
    """The rows that have a value."""
    return base.transform_filter(f"isValid(datum.{field})")


def crosses(base: Any, field: str, hover: list[Any]) -> Any:
    """Along the bottom, for what is zero or not finite: it is data, too."""
    gone = base.transform_filter(f"!isValid(datum.{field})")
    mark = gone.mark_point(shape="cross", angle=45, filled=True, size=80, color=BAD, opacity=1)
    return mark.encode(y=alt.value("height"), tooltip=hover)


def spans_decades(values: Sequence[float]) -> bool:
    """Whether an axis should be logarithmic: all positive, over more than 30-fold."""
    return bool(values) and min(values) > 0 and max(values) > 30 * min(values)
