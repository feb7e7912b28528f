"""The charts of a fix: losses of all trials, and the gradient's profile before and after."""

from __future__ import annotations

import json
import math
from typing import Any

from evengrad.fixing.outcome import Attempt, Fixing
from evengrad.report.charts import BAD, GOOD, Spec, data, finished, powers

_GREY = "#8d939e"
_AS_IT_IS, _FIXED, _OTHER = "as it is", "fixed", "other trials"
_COLOURS = {_AS_IT_IS: BAD, _FIXED: GOOD, _OTHER: _GREY}
_BEGUN, _ENDED = "first step", "at the end"
_POINTS, _FEW, _NAMED = 200, 5, 12


def losses(found: Fixing) -> Spec | None:
    """A line for each trial; dashed: the constant baseline."""
    import altair as alt

    rows = [row for kind, attempt in _all(found) for row in _curve(kind, attempt)]
    if not rows:
        return None
    lines = (
        alt.Chart(data(rows))
        .mark_line(strokeWidth=1.4)
        .encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(grid=False)),
            y=alt.Y("loss:Q", title="loss", scale=_scale(rows)),
            color=_colour(rows),
            opacity=alt.condition(f"datum.kind == '{_OTHER}'", alt.value(0.4), alt.value(0.9)),
            detail="trial:N",
            tooltip=["trial:N", "step:Q", alt.Tooltip("loss:Q", format=".4g")],
        )
    )
    single = (
        alt.Chart(data([row for row in rows if row["only"]]))
        .mark_point(filled=True, size=60)
        .encode(x="step:Q", y="loss:Q", color=_colour(rows), tooltip=["trial:N", "loss:Q"])
    )
    lines = alt.layer(lines, single)
    baselines = [a.result.baseline for _, a in _all(found) if a.result.baseline is not None]
    if not baselines:
        return finished(lines, 260)
    rule = alt.Chart(data([{"baseline": baselines[0]}])).mark_rule(strokeDash=[4, 4], color=_GREY)
    return finished(alt.layer(lines, rule.encode(y="baseline:Q")), 260)


def profile(found: Fixing) -> Spec | None:
    """Rms of each weight matrix's gradient in the first step of a trial and at its end, log scale, forward
    order; what is 0 has no place there.
    """
    import altair as alt

    rows = [
        {
            "kind": kind,
            "when": when,
            "line": f"{kind}, {when}",
            "layer": layer,
            "place": place,
            "decades": math.log10(rms),
        }
        for kind, attempt in _ends(found)
        for when, profile in ((_BEGUN, attempt.result.begun), (_ENDED, attempt.result.profile))
        for place, (layer, rms) in enumerate(profile)
        if rms > 0
    ]
    if not rows:
        return None
    lines = (
        alt.Chart(data(rows))
        .mark_line(strokeWidth=1.5, point=True)
        .encode(
            x=alt.X("place:O", title="weight matrices, forward order", axis=_layers(rows)),
            y=alt.Y("decades:Q", title="gradient rms", axis=powers(), scale=alt.Scale(zero=False)),
            color=_colour(rows),
            strokeDash=alt.StrokeDash(
                "when:N",
                scale=alt.Scale(domain=[_BEGUN, _ENDED], range=[[4, 3], [1, 0]]),
                legend=None,
            ),
            detail="line:N",
            tooltip=["line:N", "layer:N", alt.Tooltip("decades:Q", title="log10", format=".3g")],
        )
    )
    return finished(lines, 220)


def _all(found: Fixing) -> list[tuple[str, Attempt]]:
    other = [(_OTHER, a) for a in found.attempts if not _is_chosen(found, a)]
    chosen = [(_FIXED, a) for a in (*found.attempts, *found.proof) if _is_chosen(found, a)]
    return [*other, *((_AS_IT_IS, a) for a in found.plain), *chosen]


def _ends(found: Fixing) -> list[tuple[str, Attempt]]:
    plain = [(_AS_IT_IS, attempt) for attempt in found.plain[:1]]
    return plain + [(_FIXED, attempt) for attempt in found.proof[-1:]]


def _layers(rows: list[dict[str, Any]]) -> Any:
    """Their names on the axis, where there is room for them."""
    import altair as alt

    names = {row["place"]: row["layer"] for row in rows}
    if len(names) > _NAMED:
        return alt.Axis(labels=False)
    words = json.dumps({str(place): name for place, name in names.items()})
    return alt.Axis(labelExpr=f"{words}[datum.value]", labelAngle=-35, labelLimit=90)


def _is_chosen(found: Fixing, attempt: Attempt) -> bool:
    return found.chosen is not None and attempt.candidate == found.chosen


def _curve(kind: str, attempt: Attempt) -> list[dict[str, Any]]:
    values = attempt.result.losses
    name = "as it is" if attempt.candidate is None else attempt.candidate.remedy
    name += f"{', patched' if attempt.patched else ''}, seed {attempt.seed}"
    stride = -(-len(values) // _POINTS) or 1
    return [
        {
            "kind": kind,
            "trial": name,
            "step": step,
            "loss": values[step],
            "only": len(values) < _FEW,
        }
        for step in range(0, len(values), stride)
        if math.isfinite(values[step])
    ]


def _scale(rows: list[dict[str, Any]]) -> Any:
    import altair as alt

    values = [row["loss"] for row in rows]
    wide = min(values) > 0 and max(values) > 30 * min(values)
    return alt.Scale(type="log") if wide else alt.Scale(zero=False)


def _colour(rows: list[dict[str, Any]]) -> Any:
    import altair as alt

    kinds = [kind for kind in _COLOURS if any(row["kind"] == kind for row in rows)]
    scale = alt.Scale(domain=kinds, range=[_COLOURS[kind] for kind in kinds])
    return alt.Color("kind:N", scale=scale, legend=alt.Legend(title=None, orient="top"))
