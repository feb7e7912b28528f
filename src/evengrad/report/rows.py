"""What charts and tables show: rows of plain, finite values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from evengrad.diagnosis.budget import ProfilePoint
from evengrad.diagnosis.evidence import Evidence
from evengrad.report import expected, words
from evengrad.report.json import update_ratio
from evengrad.theory.prediction import Band
from evengrad.values import wording
from evengrad.values.finding import Cause
from evengrad.values.message import msg
from evengrad.values.probe import Operation
from evengrad.values.spec import Kind
from evengrad.values.summary import root_sum_squares
from evengrad.verbs.check import Check

_DECADE = math.log(10)
_INVISIBLE = 1e-6

_KINDS = {
    Kind.WEIGHTS: msg("weights"),
    Kind.EMBEDDING: msg("embedding"),
    Kind.ACTIVATION: msg("activation"),
    Kind.NORMALISATION: msg("normalisation"),
    Kind.POOLING: msg("pooling"),
    Kind.DROPOUT: msg("dropout"),
    Kind.MERGE: msg("merge"),
    Kind.RESHAPE: msg("reshape"),
    Kind.ATTENTION: msg("attention"),
    Kind.RECURRENT: msg("recurrent"),
    Kind.LOSS: msg("loss"),
    Kind.OTHER: msg("other"),
}

PlainRow = dict[str, Any]
"""Plain values by name; a figure is None where it is zero or not finite, and in words beside it."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One operation, as text.

    Attributes:
        name: unique.
        layer: the user's own name.
        type: in the framework's words.
        kind: in evengrad's words.
        source: where it was called.
        forward: rms of its output.
        zeros: share of its output.
        non_finite: share of its output.
        backward: rms of dL/dy.
        gain: by which it changes the norm of the gradient.
        forecast: the band of its gain.
        odd: the measured gain is outside of it.
        term: its share of the budget.
        bad: "marked" (a finding names it), "broken" (its output is not finite) or "".
    """

    name: str
    layer: str
    type: str
    kind: str
    source: str
    forward: str
    zeros: str
    non_finite: str
    backward: str
    gain: str
    forecast: str
    odd: bool
    term: str
    bad: str


def profile(check: Check, measured: Evidence) -> list[PlainRow]:
    """The model's input, then each operation in forward order."""
    named = words.marked(check.findings)
    levels = [ProfilePoint("(input)", "", measured.budget.total), *measured.budget.profile]
    bands = {} if check.prediction is None else dict(check.prediction.levels)
    if check.prediction is not None:
        bands["(input)"] = check.prediction.total
    return [
        _profile_row(level, level.layer in named, bands.get(level.operation)) for level in levels
    ]


def _profile_row(level: ProfilePoint, marked: bool, band: Band | None) -> PlainRow:
    return {
        "operation": level.operation,
        "layer": level.layer,
        "decades": _decades(level.log_norm),
        "norm": wording.factor(level.log_norm),
        "marked": marked,
        "cut": level.cut,
        "low": None if band is None else _decades(band.low),
        "high": None if band is None else _decades(band.high),
        "forecast": "–" if band is None else expected.reach(band),
    }


def operations(measured: Evidence) -> list[PlainRow]:
    """Every visible, finite part of every operation's term, and of each block's branching."""
    branching = {block.operations[-1]: block.branching for block in measured.budget.blocks}
    found: list[PlainRow] = []
    for name, parts in measured.shares.by_operation.items():
        shown = {words.cause(cause): share for cause, share in parts.items()}
        architecture = words.cause(Cause.ARCHITECTURE)
        shown[architecture] = shown.get(architecture, 0.0) + branching.get(name, 0.0)
        found += [
            _bar(name, cause, share)
            for cause, share in shown.items()
            if math.isfinite(share) and abs(share) > _INVISIBLE
        ]
    return found


def causes(measured: Evidence) -> list[PlainRow]:
    """The total by cause, largest first."""
    shown = words.causes(measured.shares.by_cause)
    return [_bar("", word, share) for word, share in shown if math.isfinite(share)]


def health(check: Check) -> list[PlainRow]:
    """Zeros, dead units and saturation of each activation."""
    found: list[PlainRow] = []
    for op in check.probe.operations:
        if op.health is None or op.kind is Kind.LOSS:
            continue
        shares = {
            msg("zeros"): op.forward.zeros,
            msg("dead units"): op.health.dead,
            msg("saturated"): op.health.saturated,
        }
        found += [
            {"operation": op.name, "measure": word, "share": share, "words": wording.percent(share)}
            for word, share in shares.items()
            if math.isfinite(share)
        ]
    return found


def updates(check: Check) -> list[PlainRow]:
    """The coming update of each weight tensor relative to it; not of those that are all zero."""
    found: list[PlainRow] = []
    for weight in check.probe.weights:
        ratio = update_ratio(weight)
        if ratio is not None:
            log = math.log(ratio) if ratio > 0 else -math.inf
            found.append(
                {"weight": weight.name, "decades": _decades(log), "ratio": words.number(ratio)}
            )
    return found


def table(check: Check, measured: Evidence) -> list[TableRow]:
    """Every operation, forward order."""
    named = words.marked(check.findings)
    bands = {} if check.prediction is None else check.prediction.terms
    odd = {o.operation for o in expected.outside(check)}
    return [
        _row(op, measured, op.layer in named, bands.get(op.name), op.name in odd)
        for op in check.probe.operations
    ]


def _row(op: Operation, measured: Evidence, named: bool, band: Band | None, odd: bool) -> TableRow:
    above = root_sum_squares(port.norm for port in op.outputs)
    gain, term = op.log_gain, measured.budget.terms.get(op.name)
    return TableRow(
        name=op.name,
        layer=op.layer,
        type=op.type,
        kind=_KINDS[op.kind],
        source=op.source or "",
        forward=words.number(op.forward.rms),
        zeros=wording.percent(op.forward.zeros),
        non_finite=wording.percent(op.forward.non_finite),
        backward=words.number(above),
        gain="–" if gain is None else wording.factor(gain),
        forecast="–" if band is None else expected.reach(band),
        odd=odd,
        term="–" if term is None else words.signed(term),
        bad="broken" if op.forward.non_finite else "marked" if named else "",
    )


def _bar(operation: str, cause: str, share: float) -> PlainRow:
    decades = share / _DECADE
    return {
        "operation": operation,
        "cause": cause,
        "decades": decades,
        "factor": wording.factor(share),
    }


def _decades(log: float) -> float | None:
    return log / _DECADE if math.isfinite(log) else None
