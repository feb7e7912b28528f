"""The gradient's norm over depth as rows, one a layer, deep nets folded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from evengrad.diagnosis.budget import Budget, ProfilePoint
from evengrad.report import words
from evengrad.verbs.check import Check

_RANGE = " ... "


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One row, or several neighbouring layers in one.

    Attributes:
        name: of the layer, or "first ... last".
        log_norm: log(norm of the gradient / norm at the output); of several layers the one furthest from even.
        marked: a finding names it.
    """

    name: str
    log_norm: float
    marked: bool


def rows(check: Check, split: Budget, most: int = 16) -> tuple[LayerRow, ...]:
    """The model's input and then its layers in forward order, at most ``most`` rows.

    On a net with branches: where all paths meet, and what a finding names or is not finite.
    """
    named = words.marked(check.findings)
    per_layer = [
        LayerRow(layer, _worst([level.log_norm for level in levels][:1], levels), layer in named)
        for layer, levels in _layers(split, named)
    ]
    start = (
        [LayerRow("(input)", split.total, False)] if any(i.port for i in check.probe.inputs) else []
    )
    return (*start, *_folded(per_layer, most - len(start)))


def _layers(split: Budget, named: frozenset[str]) -> list[tuple[str, list[ProfilePoint]]]:
    shown = [v for v in split.profile if v.cut or v.layer in named or not math.isfinite(v.log_norm)]
    return [(name, list(group)) for name, group in groupby(shown, key=lambda v: v.layer)]


def _worst(values: list[float], levels: Sequence[ProfilePoint] = ()) -> float:
    """The value furthest from even; NaN if it or any of the levels is not a number."""
    if any(math.isnan(value) for value in [*values, *(level.log_norm for level in levels)]):
        return math.nan
    return max(values, key=abs)


def _folded(per_layer: list[LayerRow], most: int) -> list[LayerRow]:
    """Neighbours merged so that no more than ``most`` rows are left, none of them empty."""
    per_layer = [
        row for _, same in groupby(per_layer, key=_sameness) for row in _merged(list(same))
    ]
    count = min(most, len(per_layer))
    groups = [
        per_layer[i * len(per_layer) // count : (i + 1) * len(per_layer) // count]
        for i in range(count)
    ]
    return [_joined(group) for group in groups]


def _sameness(row: LayerRow) -> tuple[bool, object]:
    """Equal for neighbours that need no rows of their own: those without a finite norm."""
    return row.marked, row.name if math.isfinite(row.log_norm) else str(row.log_norm)


def _merged(same: list[LayerRow]) -> list[LayerRow]:
    return same if math.isfinite(same[0].log_norm) else [_joined(same)]


def _joined(group: list[LayerRow]) -> LayerRow:
    first, last = group[0].name.split(_RANGE)[0], group[-1].name.split(_RANGE)[-1]
    return LayerRow(
        first if len(group) == 1 and first == last else f"{first}{_RANGE}{last}",
        _worst([row.log_norm for row in group]),
        any(row.marked for row in group),
    )
