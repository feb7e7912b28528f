"""From the workers' samples to the figures of the tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.watching.samples import OBSERVED, Samples, added, resampled, typical

GOALS = {("never", True): 0.5, ("binds", True): 0.8, ("never", False): 0.6, ("binds", False): 1.0}
"""What evengrad's statistics, clip and guard may add, against what clip_grad_norm_ adds; by key and fused."""
WATCH_GOAL = 0.02
"""What watching with default settings may add, of a step."""


@dataclass(frozen=True)
class Interval:
    """A figure with the interval that 90% of resamplings fall into."""

    value: float
    low: float
    high: float

    def met(self, goal: float) -> str:
        """Whether the figure is under the goal, and whether the interval is on the same side."""
        verdict = "met" if self.value <= goal else "NOT met"
        return verdict + (", within the noise" if self.low <= goal < self.high else "")


@dataclass
class Row:
    """What a worker measured of one variant."""

    name: str
    key: str
    fused: bool
    samples: Samples
    short: Samples = field(default_factory=Samples)
    reads: dict[str, list[int]] = field(default_factory=dict)
    wrong: str = ""


@dataclass
class Case:
    """One network, with its rows, what was missing, and what evengrad logged."""

    name: str
    about: str = ""
    rows: list[Row] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def take(self, message: dict[str, Any]) -> None:
        """A message of the worker."""
        if "about" in message:
            self.about = message["about"]
        elif "missing" in message:
            self.missing.append(message)
        elif "warning" in message:
            self.warnings.append(message["warning"])
        elif "samples" in message:
            times = {k: Samples(**message[k]) for k in ("samples", "short")}
            self.rows.append(Row(**message | times))

    def row(self, key: str, fused: bool) -> Row | None:
        """The row of that key."""
        return next((r for r in self.rows if r.key == key and r.fused == fused), None)

    def bare(self, row: Row) -> Row:
        """The bare step with the same optimizer."""
        found = self.row("bare", row.fused)
        assert found is not None
        return found

    def clip(self, row: Row) -> Row | None:
        """The framework's clip that a row of evengrad is held against."""
        if row.key not in ("never", "binds"):
            return None
        return self.row("clip", row.fused) or self.row(f"clip-{row.key}", row.fused)


def step_ms(row: Row) -> float:
    """Of a step on average."""
    return typical(row.samples.array("wall"), np.array(row.samples.phase))


def added_share(case: Case, row: Row, what: str = "wall") -> Interval:
    """What a variant adds to the bare step of the same rounds, as a share of it."""
    bare = case.bare(row).samples
    phase = np.array(row.samples.phase)
    difference, whole = added(row.samples, bare, what), bare.array(what)[: len(phase)]
    return _interval(difference, phase, row.samples, typical(whole, phase))


def quartiles(case: Case, row: Row) -> tuple[float, float]:
    """Of the differences of the single rounds, as shares of the bare step."""
    bare = case.bare(row)
    low, high = np.percentile(added(row.samples, bare.samples, "wall"), [25, 75])
    return float(low / step_ms(bare)), float(high / step_ms(bare))


def against_clip(case: Case, row: Row, *, ordinary: bool = False) -> Interval | None:
    """What evengrad adds, divided by what the framework's clip adds; None where the latter drowns in noise.

    ordinary: only steps that are not observed. In PyTorch the time after the backward pass is of full steps,
    that of forward and backward of the short ones: there a hook's cost, the same, does not drown in them.
    """
    clip = case.clip(row)
    if clip is None:
        return None
    bare = case.bare(row)
    section = "after" if any(bare.samples.after) else "wall"
    theirs = _draws(clip.samples, bare.samples, section, ordinary=False)
    if np.percentile(theirs, 5) <= 0:
        return None
    ours = _draws(row.samples, bare.samples, section, ordinary=ordinary)
    if row.short.phase:
        ours = ours + _draws(row.short, bare.short, "before", ordinary=ordinary)
    ratios = ours / theirs
    return Interval(float(ratios[0]), *np.percentile(ratios, [5, 95]).tolist())


def _draws(one: Samples, bare: Samples, what: str, *, ordinary: bool) -> Any:
    """What is added to a step, in ms: first as measured, then of each resampling."""
    difference, phase = added(one, bare, what), np.array(one.phase)
    kept = ~np.isin(phase, OBSERVED) if ordinary else np.full(len(phase), True)
    draws = [np.arange(len(phase)), *resampled(one)]
    return np.array([typical(difference[at][kept], phase[kept]) for at in draws])


def reads(case: Case, row: Row) -> tuple[float, float] | None:
    """Host reads added to the bare step: at an observed step (with what its neighbours have more than
    others), and at others.
    """
    bare = case.bare(row)
    if not row.reads or not bare.reads:
        return None
    more = {p: np.mean(n) - np.mean(bare.reads[p]) for p, n in row.reads.items()}
    others = float(np.mean([n for p, n in more.items() if int(p) not in OBSERVED]))
    observed = others + sum(more[str(p)] - others for p in OBSERVED)
    return float(observed), others


def _interval(difference: Any, phase: Any, samples: Samples, whole: float) -> Interval:
    drawn = [typical(difference[at], phase) for at in resampled(samples)]
    low, high = np.percentile(drawn, [5, 95])
    value = typical(difference, phase)
    return Interval(float(value / whole), float(low / whole), float(high / whole))
