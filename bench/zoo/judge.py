"""A forecast held against what probes of other seeds measured."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import evengrad
from bench.zoo.architecture import Architecture
from bench.zoo.measure import FORECAST_SEED, Point, start_afresh

EXACT = 1e-5
"""Natural log. What all seeds and the forecast agree on so closely holds by construction (the gain of
a reshape or of a sum, the level at the outputs): it is left out, so that it does not flatter."""

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One operation; natural logarithms. level, gain: forecast (low, median, high), None where there is
    no such operation in the forecast. levels, gains: measured, one a seed.
    """

    operation: str
    kind: str
    type: str
    level: Triple | None
    gain: Triple | None
    levels: tuple[float, ...]
    gains: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One architecture, or why it could not be forecast."""

    architecture: str
    about: str
    framework: str
    half: str
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> Verdict:
        """The way back."""
        rows = tuple(
            Row(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()})
            for row in value["rows"]
        )
        return Verdict(**(value | {"rows": rows, "notes": tuple(value["notes"])}))


def forecast(architecture: Architecture, *, abstract: bool = False) -> Any:
    """From a model of a seed that is never measured; abstract: from the initialisers alone."""
    start_afresh(architecture, FORECAST_SEED)
    model = architecture.build if abstract else architecture.build()
    return evengrad.forecast(
        model, architecture.shape, batch_size=architecture.batch, dtype=architecture.dtype
    )


def judge(architecture: Architecture, seeds: list[list[Point]], found: Any) -> Verdict:
    """Put forecast and measurements side by side, an operation a row."""
    types = {op.name: op.type for op in found.expected.operations}
    tables = [{p.operation: p for p in points} for points in seeds]
    rows = []
    for point in seeds[0]:
        name = point.operation
        points = [t[name] for t in tables if name in t]
        rows.append(
            Row(
                name,
                point.kind,
                types.get(name, ""),
                _triple(found.levels.get(name)),
                _triple(found.terms.get(name)),
                tuple(p.level for p in points),
                tuple(p.gain for p in points),
            )
        )
    return Verdict(
        architecture.name,
        architecture.about,
        architecture.framework,
        architecture.half,
        tuple(rows),
        tuple(found.notes),
    )


def _triple(band: Any) -> Triple | None:
    return None if band is None else (float(band.low), float(band.median), float(band.high))


@dataclass(frozen=True, slots=True)
class Figures:
    """Over layers x seeds; errors in log10.

    seed_error: of a single seed's level against the forecast's median; the seeds' own scatter is in it.
    scatter: the same against the seeds' own median: what no forecast can do without.
    level_error: of the seeds' median level. below, inside, above: shares of the band.
    missing: share of the measured operations that the forecast does not have.
    """

    count: int
    gain_error: float
    gain_error_95: float
    seed_error: float
    seed_error_95: float
    scatter: float
    level_error: float
    level_error_95: float
    below: float
    inside: float
    above: float
    missing: float


def figures(verdicts: list[Verdict]) -> Figures:
    """Each (layer, seed) counts alike."""
    rows = [row for verdict in verdicts for row in verdict.rows]
    gains = [g for row in rows for g in _differences(row.gain, row.gains)]
    judged = [row for row in rows if row.kind != "reshape" and row.level is not None]
    by_row = [found for row in judged if (found := _differences(row.level, row.levels))]
    medians = [float(np.median(found)) for found in by_row]
    scatter = [d - m for found, m in zip(by_row, medians, strict=True) for d in found]
    levels = [d for found in by_row for d in found]
    sides = [s for row in judged for s in _sides(row)]
    expected = [row for row in rows if row.levels and math.isfinite(row.levels[0])]
    return Figures(
        len(levels),
        *_error(gains),
        *_error(levels),
        _error(scatter)[0],
        *_error(medians),
        _share(sides, -1),
        _share(sides, 0),
        _share(sides, 1),
        sum(row.level is None for row in expected) / max(len(expected), 1),
    )


def _differences(forecast: Triple | None, measured: tuple[float, ...]) -> list[float]:
    """Measured minus the forecast's median, natural log; none for what holds by construction."""
    if forecast is None:
        return []
    found = [m - forecast[1] for m in measured if math.isfinite(m)]
    return [] if all(abs(d) < EXACT for d in found) else found


def _sides(row: Row) -> list[int]:
    """-1, 0, 1 for each seed's level: below, inside and above the band."""
    if row.level is None or not _differences(row.level, row.levels):
        return []
    low, _, high = row.level
    finite = [m for m in row.levels if math.isfinite(m)]
    return [int(m > high + EXACT) - int(m < low - EXACT) for m in finite]


def _error(differences: list[float]) -> tuple[float, float]:
    """Median and 95th percentile of the absolute value, in log10."""
    if not differences:
        return math.nan, math.nan
    sizes = np.abs(np.nan_to_num(np.array(differences), posinf=1e3, neginf=-1e3)) / math.log(10)
    return float(np.median(sizes)), float(np.quantile(sizes, 0.95))


def _share(sides: list[int], side: int) -> float:
    return sum(s == side for s in sides) / len(sides) if sides else math.nan
