"""The rows of a run's charts: long series folded into bins, so that any run gives a small page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from evengrad.diagnosis.readings import (
    StepNumbers,
    by_layer,
    layer_figure,
    matrices,
    ratios,
    tensor_figure,
)
from evengrad.report.rows import PlainRow
from evengrad.values.message import msg
from evengrad.values.run import BAD_EVENTS, Floats, Run

BINS = 240
CELLS = 90
_LINES = 10
_ROWS = 40
_EVENTS = 120


def bins(steps: StepNumbers, values: Floats, most: int = BINS) -> list[PlainRow]:
    """A series folded into at most so many bins."""
    rows: list[PlainRow] = []
    for at, part in _parts(steps, values, most):
        finite = part[np.isfinite(part)]
        ends: tuple[float | None, ...] = (None, None, None)
        if len(finite):
            ends = tuple(_digits(f(finite)) for f in (np.min, np.median, np.max))
        rows.append(
            {"step": at[0], "until": at[1], "low": ends[0], "value": ends[1], "high": ends[2]}
        )
    return rows


def losses(run: Run) -> list[PlainRow]:
    """The loss."""
    return bins(run.steps["step"], run.steps["loss"])


def norms(run: Run, column: str) -> list[PlainRow]:
    """The gradient norm, ``norm`` before and ``clipped`` after the clip; a log axis has no zeros."""
    values = run.steps[column]
    return bins(run.steps["step"], np.where(values > 0, values, np.nan))


def not_finite(run: Run, most: int = BINS) -> list[PlainRow]:
    """Where the norm was not finite: steps and how many, folded alike."""
    bad = (~np.isfinite(run.steps["norm"])).astype(float)
    return [
        {"step": float(_first(run, at, part)), "count": float(part.sum())}
        for at, part in _parts(run.steps["step"], bad, most)
        if part.any()
    ]


def events(run: Run) -> list[PlainRow]:
    """The first events, for marks."""
    return [
        {
            "step": event.step,
            "kind": event.kind.words,
            "message": event.message,
            "bad": event.kind in BAD_EVENTS,
        }
        for event in run.events[:_EVENTS]
    ]


def gradient_cells(run: Run) -> list[PlainRow]:
    """Gradient rms by layer over the observed steps."""
    steps, values = tensor_figure(run, "gradient_rms")
    layers, found = by_layer(run, values)
    return _cells(steps, found, layers)


def last_cells(run: Run) -> list[PlainRow]:
    """Gradient rms by layer over the steps before the last thing that happened."""
    steps, place = np.unique(run.recent["step"], return_inverse=True)
    if not len(steps):
        return []
    values = np.full((len(steps), len(run.subject.tensors)), np.nan)
    values[place, run.recent["tensor"]] = run.recent["gradient_rms"]
    layers, found = by_layer(run, values[-64:])
    return _cells(steps[-64:], found, layers, 64)


def update_lines(run: Run) -> list[PlainRow]:
    """log10 of rms(update) / rms(weights) of the weight matrices, a few of them where there are many."""
    steps, found = ratios(run)
    own = matrices(run)
    names = [run.subject.tensors[i].name for i in own]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log10(found[:, own])
    return list(_lines(steps, logs, names, msg("update / weight")))


def activation_lines(run: Run) -> list[PlainRow]:
    """Shares of dead units and of saturated outputs by activation, as far as any is above zero."""
    rows: list[PlainRow] = []
    for figure, words in (("dead", msg("dead units")), ("saturated", msg("saturated"))):
        steps, found = layer_figure(run, figure)
        rows += _lines(steps, found, list(run.layers), words, key=_peak(found))
    return rows


def _peak(values: Floats) -> list[float]:
    finite = np.where(np.isfinite(values), values, -1.0)
    return list(finite.max(axis=0, initial=-1.0))


def _lines(
    steps: StepNumbers,
    values: Floats,
    names: Sequence[str],
    measure: str,
    key: list[float] | None = None,
) -> Iterable[PlainRow]:
    """At most a few of the columns: evenly chosen, or those with the largest key."""
    count = values.shape[1]
    chosen = list(range(count))
    if key is not None:
        chosen = sorted(sorted(chosen, key=lambda i: -key[i])[:_LINES])
    elif count > _LINES:
        chosen = sorted({round(i * (count - 1) / (_LINES - 1)) for i in range(_LINES)})
    for column in chosen:
        for row in bins(steps, values[:, column], CELLS):
            yield {
                "step": row["step"],
                "layer": names[column],
                "index": round(column / max(count - 1, 1), 3),
                "measure": measure,
                "value": row["value"],
            }


def _cells(
    steps: StepNumbers, values: Floats, layers: Sequence[str], most: int = CELLS
) -> list[PlainRow]:
    names, values = _folded(layers, values)
    rows: list[PlainRow] = []
    for column, layer in enumerate(names):
        for at, part in _parts(steps, values[:, column], most):
            good = part[np.isfinite(part) & (part > 0)]
            value = float(np.median(good)) if len(good) else None
            rows.append(
                {
                    "step": at[0],
                    "until": at[1],
                    "layer": layer,
                    "decades": None if value is None else round(math.log10(value), 2),
                    "words": _in_words(value, part),
                    "bad": not np.isfinite(part).all() or value is None,
                }
            )
    return rows


def _in_words(value: float | None, part: Floats) -> str:
    if value is None:
        return msg("not finite") if not np.isfinite(part).all() else "0"
    return f"{value:.3g}" + ("" if np.isfinite(part).all() else msg(", some not finite"))


def _folded(layers: Sequence[str], values: Floats) -> tuple[list[str], Floats]:
    """Neighbouring layers in one row where there are too many: their largest; NaN if one of them is."""
    if len(layers) <= _ROWS:
        return list(layers), values
    groups = np.array_split(np.arange(len(layers)), _ROWS)
    names = [f"{layers[g[0]]} ... {layers[g[-1]]}" if len(g) > 1 else layers[g[0]] for g in groups]
    return names, np.column_stack([values[:, group].max(axis=1) for group in groups])


def _parts(
    steps: StepNumbers, values: Floats, most: int
) -> Iterable[tuple[tuple[float, float], Floats]]:
    """Equal parts in order: from where to where each goes, and its values."""
    if not len(steps):
        return
    bounds = np.linspace(0, len(steps), min(most, len(steps)) + 1).astype(int)
    ends = np.append(steps, steps[-1] + 1)
    for a, b in pairwise(bounds):
        yield (float(ends[a]), float(ends[b])), values[a:b]


def _first(run: Run, at: tuple[float, float], part: Floats) -> int:
    start = int(np.searchsorted(run.steps["step"], at[0]))
    return int(run.steps["step"][start + int(part.argmax())])


def _digits(value: Any) -> float:
    return float(f"{float(value):.5g}")
