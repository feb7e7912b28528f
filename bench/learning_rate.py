"""How good is the verdict on a learning rate? Real trainings at fixed rates, and what check says before.

Every case is a small network and an optimizer on scikit-learn's digits, trained for real at eight rates a
factor of four apart, the same for all networks, and once more next to its real edge. ``make bench-rate``
writes docs/learning-rate.md.

  python bench/learning_rate.py                 all cases, about 15 minutes on one core
  python bench/learning_rate.py --only adam     some; --known those that were trained already
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.progress import track
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

import evengrad
from evengrad.adapters.torch.measure.rate import method as method_of
from evengrad.recording.monitor import Monitor
from evengrad.theory.stability import edge, largest_stable, verdict
from evengrad.values.probe import LaterRate, Rate
from evengrad.values.run import EventKind, Step

STEPS = 200
CHANCE = math.log(10)
ROOT = Path(__file__).parents[1]
CACHE = ROOT / "bench" / ".cache" / "learning_rate.json"
PAGE = ROOT / "docs" / "learning-rate.md"


# --- networks -------------------------------------------------------------------------------------


def mlp(act: Any, width: int = 64, depth: int = 3, norm: Any = None, he: bool = False) -> nn.Module:
    """Dense layers on the 64 pixels."""
    layers: list[nn.Module] = [nn.Flatten()]
    for i in range(depth):
        layer = nn.Linear(64 if i == 0 else width, width)
        if he:
            nn.init.kaiming_normal_(layer.weight)
        layers += [layer, *([norm(width)] if norm else []), act()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def cnn(act: Any, norm: Any = None, depth: int = 3, width: int = 16, he: bool = True) -> nn.Module:
    """3x3 convolutions, the second with stride 2, mean over the places."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layer = nn.Conv2d(1 if i == 0 else width, width, 3, stride=2 if i == 1 else 1, padding=1)
        if he:
            nn.init.kaiming_normal_(layer.weight)
        layers += [layer, *([norm(width)] if norm else []), act()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * width, 10))


class Residual(nn.Module):
    """Pre-norm residual blocks."""

    def __init__(self, width: int = 48, depth: int = 4) -> None:
        super().__init__()
        self.start = nn.Linear(64, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
            )
            for _ in range(depth)
        )
        self.end = nn.Linear(width, 10)

    def forward(self, x: Any) -> Any:
        """X (batch, 1, 8, 8)."""
        x = self.start(x.flatten(1))
        for block in self.blocks:
            x = x + block(x)
        return self.end(x)


@dataclass(frozen=True)
class Network:
    """relu: its catapult reaches further. half: of the split by architecture."""

    name: str
    build: Callable[[], nn.Module]
    relu: bool
    half: str


NETWORKS = (
    Network("mlp-relu-he", lambda: mlp(nn.ReLU, he=True), True, "development"),
    Network("mlp-relu-default", lambda: mlp(nn.ReLU, 128, 4), True, "held-out"),
    Network("mlp-tanh", lambda: mlp(nn.Tanh), False, "development"),
    Network("mlp-gelu", lambda: mlp(nn.GELU, 96), False, "held-out"),
    Network("mlp-relu-batch-norm", lambda: mlp(nn.ReLU, norm=nn.BatchNorm1d), True, "development"),
    Network("mlp-relu-layer-norm", lambda: mlp(nn.ReLU, norm=nn.LayerNorm), True, "held-out"),
    Network("cnn-relu-default", lambda: cnn(nn.ReLU, he=False), True, "development"),
    Network("cnn-relu-he", lambda: cnn(nn.ReLU, depth=4), True, "held-out"),
    Network("cnn-tanh", lambda: cnn(nn.Tanh, he=False), False, "held-out"),
    Network("cnn-relu-batch-norm", lambda: cnn(nn.ReLU, nn.BatchNorm2d), True, "held-out"),
    Network("residual-layer-norm", Residual, False, "development"),
    Network("mlp-relu-wide", lambda: mlp(nn.ReLU, 512, 2, he=True), True, "development"),
)
OPTIMIZERS: dict[str, Callable[[Any, float], Any]] = {
    "sgd": torch.optim.SGD,
    "momentum": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9),
    "adam": torch.optim.Adam,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}
LOWEST = {"sgd": -9, "momentum": -11, "adam": -13, "rmsprop": -13, "adagrad": -9}
"""Powers of two of the lowest rates."""
BATCHES = {"sgd": 32, "momentum": 64, "adam": 128, "rmsprop": 64, "adagrad": 256}


@dataclass(frozen=True)
class Case:
    """One training to be."""

    network: Network
    optimizer: str
    seed: int = 0

    @property
    def name(self) -> str:
        """For tables and the cache."""
        return f"{self.network.name} {self.optimizer} {self.seed}"

    @property
    def rates(self) -> list[float]:
        """The same for all networks."""
        return [2.0 ** (LOWEST[self.optimizer] + 2 * k) for k in range(8)]


def cases() -> list[Case]:
    """Each network with each optimizer."""
    return [Case(network, optimizer) for network in NETWORKS for optimizer in OPTIMIZERS]


# --- training -------------------------------------------------------------------------------------


def data() -> tuple[Any, Any]:
    """1,797 digits, normalised."""
    x, y = load_digits(return_X_y=True)
    x = torch.tensor((x - x.mean()) / x.std(), dtype=torch.float32).reshape(-1, 1, 8, 8)
    return x, torch.tensor(y)


X, Y = data()


def probe(case: Case) -> dict[str, Any]:
    """What a precise check measures before the first step, by one probe on the first batch."""
    torch.manual_seed(case.seed)
    model = case.network.build()
    optimizer = OPTIMIZERS[case.optimizer](model.parameters(), 1e-3)
    result = evengrad.check(
        model,
        loss=nn.CrossEntropyLoss(),
        batch=_batch(0, case),
        optimizer=optimizer,
        precise=True,
    )
    rate = result.probe.rate
    assert rate is not None
    assert rate.later is not None
    return {
        "critical": rate.critical,
        "sharpness": float(rate.sharpness or math.nan),
        "passes": rate.passes,
        "later": [rate.later.steps, rate.later.loss, rate.later.critical, rate.later.lowest],
    }


def _batch(step: int, case: Case) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(step + 1000 * case.seed)
    index = torch.randint(len(X), (BATCHES[case.optimizer],), generator=generator)
    return X[index], Y[index]


def train(case: Case, rate: float) -> list[list[float]]:
    """The losses, and the gradients' norms before the steps; it ends where a loss is not finite."""
    torch.manual_seed(case.seed)
    model = case.network.build()
    optimizer = OPTIMIZERS[case.optimizer](model.parameters(), rate)
    losses: list[float] = []
    norms: list[float] = []
    for step in range(STEPS):
        x, y = _batch(step, case)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        norm = nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        losses.append(_short(loss.item()))
        norms.append(_short(norm.item()))
        if losses[-1] >= _HUGE:
            break
        optimizer.step()
    return [losses, norms]


_HUGE = 1e300


def _short(value: float) -> float:
    return float(f"{value:.4g}") if math.isfinite(value) else _HUGE


def outcome(losses: list[float]) -> str:
    """survived, catapulted or diverged.

    diverged: not finite, or the last quarter's mean 2% above both the start and chance (ln 10); or the loss
    rose to twice its start (and chance) and ended no better than chance, its units dead.
    catapulted: it rose so far and then came down to less than chance.
    """
    if len(losses) < STEPS or losses[-1] >= _HUGE:
        return "diverged"
    level, end = max(losses[0], CHANCE), sum(losses[-STEPS // 4 :]) / (STEPS // 4)
    rose = max(losses) > 2 * level
    if end > 1.02 * level or (rose and end > 0.98 * CHANCE):
        return "diverged"
    return "catapulted" if rose else "survived"


def lost_at(losses: list[float]) -> int:
    """Of a training that diverged: the step from which its loss is never below chance again."""
    level = max(losses[0], CHANCE)
    below = [step for step, loss in enumerate(losses) if loss < level]
    return below[-1] + 1 if below else 0


def alarm_at(losses: list[float], norms: list[float]) -> int | None:
    """The first step at which a watch would speak: of a spike, of divergence or of what is not finite."""
    monitor = Monitor((), False)
    for step, (loss, norm) in enumerate(zip(losses, norms, strict=True)):
        if max(loss, norm) >= _HUGE:
            return step
        events = monitor.step(Step(step, 0.0, loss, 0.0, norm, norm))
        if any(e.kind in (EventKind.SPIKE, EventKind.DIVERGENCE) for e in events):
            return step
    return None


class Results:
    """What was probed and trained, on disk."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = json.loads(CACHE.read_text()) if CACHE.exists() else {}

    def of(self, key: str, work: Callable[[], Any]) -> Any:
        """Worked out once."""
        if key not in self.kept:
            self.kept[key] = work()
            CACHE.parent.mkdir(exist_ok=True)
            part = CACHE.with_suffix(".part")
            part.write_text(json.dumps(self.kept))
            part.replace(CACHE)
        return self.kept[key]

    def probe(self, case: Case) -> dict[str, Any]:
        """At initialisation."""
        found: dict[str, Any] = self.of(f"{case.name} probe", lambda: probe(case))
        return found

    def run(self, case: Case, rate: float) -> list[list[float]]:
        """One training."""
        found: list[list[float]] = self.of(f"{case.name} {rate:.6g}", lambda: train(case, rate))
        return found


# --- judging --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One case: what was measured before it, its trainings by rate, and its real edge."""

    case: Case
    first: Rate
    precise: Rate
    trainings: dict[float, list[list[float]]]
    edge: float

    @property
    def outcomes(self) -> dict[float, str]:
        """Of each rate."""
        return {rate: outcome(found[0]) for rate, found in self.trainings.items()}


def judge(case: Case, results: Results) -> Row:
    """Train at each rate, and between the last that does not diverge and the first that does."""
    kept = results.probe(case)
    method = method_of(OPTIMIZERS[case.optimizer]([nn.Parameter(torch.zeros(1))], 1e-3))
    first = Rate(1e-3, kept["critical"], int(kept["passes"]), method)
    precise = replace(first, sharpness=kept["sharpness"], later=LaterRate(*kept["later"]))
    trainings = {rate: results.run(case, rate) for rate in case.rates}
    bad = [rate for rate, found in trainings.items() if outcome(found[0]) == "diverged"]
    highest = min(bad, default=4 * case.rates[-1])
    between = highest / 2
    trainings[between] = results.run(case, between)
    low = between / 2 if outcome(trainings[between][0]) == "diverged" else between
    return Row(case, first, precise, trainings, low * math.sqrt(2))


def auroc(scores: list[tuple[float, bool]]) -> float:
    """The share of pairs of a training that diverged and one that did not whose scores are in that order."""
    bad = [score for score, diverged in scores if diverged]
    good = [score for score, diverged in scores if not diverged]
    wins = sum((b > g) + 0.5 * (b == g) for b in bad for g in good)
    return wins / max(len(bad) * len(good), 1)


SCORES: dict[str, Callable[[Row], float]] = {
    "the rate alone, by optimizer": lambda row: TYPICAL[row.case.optimizer],
    "`check`: over the critical rate of the first update": lambda row: largest_stable(row.first),
    "its largest eigenvalue (SGD alone)": lambda row: (
        edge(row.first.method) / row.precise.sharpness
        if row.first.method.family == "sgd" and row.precise.sharpness
        else math.nan
    ),
    "`check --precise`: the lowest of ten small steps": lambda row: largest_stable(row.precise),
}
"""What the rate is divided by."""
TYPICAL: dict[str, float] = {}
"""Median edge of each optimizer over the development half."""


def report(rows: list[Row]) -> list[str]:
    """Markdown."""
    lines = []
    for name in OPTIMIZERS:
        own = [
            row.edge
            for row in rows
            if row.case.optimizer == name and row.case.network.half == "development"
        ]
        TYPICAL[name] = median(own) if own else 1.0
    for half in ("development", "held-out"):
        some = [row for row in rows if row.case.network.half == half]
        if some:
            trainings = sum(len(row.trainings) for row in some)
            title = f"## {half.capitalize()}: {len(some)} cases, {trainings} trainings"
            lines += ["", title, "", *_scores(some), "", *_watched(some), "", *_table(some)]
    return lines


def _share(hits: list[bool]) -> str:
    return f"{sum(hits)} of {len(hits)} ({sum(hits) / max(len(hits), 1):.0%})"


def _scores(rows: list[Row]) -> list[str]:
    lines = [
        '| "this training will diverge" by the rate over | AUROC | edge within 2x | within 4x |',
        "| --- | ---: | ---: | ---: |",
    ]
    for name, stable in SCORES.items():
        edges = {row.case.name: stable(row) for row in rows}
        known = [row for row in rows if edges[row.case.name] > 0]
        pairs = [
            (rate / edges[row.case.name], found == "diverged")
            for row in known
            for rate, found in row.outcomes.items()
        ]
        off = [abs(math.log2(row.edge / edges[row.case.name])) for row in known]
        near = [_share([f <= limit + 1e-9 for f in off]) for limit in (1, 2)]
        lines.append(f"| {name} | {auroc(pairs):.3f} | {near[0]} | {near[1]} |")
    for steps in (5, 10, 20, 50):
        pairs = [
            (max(losses[:steps]) / losses[0] + rate * 1e-9, outcome(losses) == "diverged")
            for row in rows
            for rate, (losses, _) in row.trainings.items()
        ]
        lines.append(
            f"| (its largest loss in {steps} steps, over the first) | {auroc(pairs):.3f} | | |"
        )
    pairs = [
        (
            rate / largest_stable(row.precise) * math.sqrt(max(losses[:20]) / losses[0]),
            outcome(losses) == "diverged",
        )
        for row in rows
        for rate, (losses, _) in row.trainings.items()
    ]
    lines.append(f"| (`--precise`, times the root of the latter's 20) | {auroc(pairs):.3f} | | |")
    return [*lines, "", *verdicts(rows)]


def verdicts(rows: list[Row]) -> list[str]:
    """What became of each verdict, with and without --precise."""
    lines = ["| called | survived | catapulted | diverged |", "| --- | ---: | ---: | ---: |"]
    for how, given in (("check", "first"), ("--precise", "precise")):
        grown = Counter(
            (verdict(replace(getattr(row, given), learning_rate=rate)), found)
            for row in rows
            for rate, found in row.outcomes.items()
        )
        for word in ("safe", "catapult", "diverges"):
            counts = [grown[word, o] for o in ("survived", "catapulted", "diverged")]
            lines.append(f"| {word} ({how}) | {counts[0]} | {counts[1]} | {counts[2]} |")
    return lines


def _watched(rows: list[Row]) -> list[str]:
    """How soon a watch speaks of a training that diverges, and how often of one that does not."""
    lead: list[int] = []
    missed = 0
    alarms = Counter[str]()
    told = Counter[str]()
    for row in rows:
        for losses, norms in row.trainings.values():
            found, at = outcome(losses), alarm_at(losses, norms)
            told[found] += 1
            alarms[found] += at is not None
            if found == "diverged":
                missed += at is None
                lead += [] if at is None else [at]
    bad = told["diverged"]
    return [
        f"* While training: a watch (spike, divergence, not finite) speaks in {alarms['diverged']} of {bad} "
        f"that diverge, at step {median(lead or [0]):g} in the middle, of {STEPS} "
        f"({sum(at <= 20 for at in lead)} by step 20).",
        f"* It speaks in {alarms['survived']} of {told['survived']} that survive "
        f"({alarms['survived'] / max(told['survived'], 1):.1%}) and in {alarms['catapulted']} of "
        f"{told['catapulted']} that catapult.",
    ]


def _table(rows: list[Row]) -> list[str]:
    marks = {"survived": "+", "catapulted": "^", "diverged": "-"}
    lines = [
        "| network, optimizer, seed | real edge | check | --precise | at the eight rates |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        told = " ".join(marks[row.outcomes[rate]] for rate in row.case.rates)
        stable = [f"{largest_stable(rate):.2g}" for rate in (row.first, row.precise)]
        figures = " | ".join([f"{row.edge:.2g}", *stable])
        lines.append(f"| {row.case.name} | {figures} | `{told}` |")
    return lines


BEGIN = "<!-- bench/learning_rate.py writes from here -->"


def main() -> None:
    """Train what is missing, print, and write the page where nothing was left out by name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="part of a case's name")
    parser.add_argument("--known", action="store_true", help="only what was trained already")
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = Results()
    chosen = [c for c in cases() if given.only in c.name]
    if given.known:
        chosen = [c for c in chosen if f"{c.name} {c.rates[-1]:.6g}" in results.kept]
    rows = [judge(c, results) for c in track(chosen, "training", disable=not sys.stderr.isatty())]
    lines = report(rows)
    print("\n".join(lines))
    if not given.only:
        head = (
            PAGE.read_text().split(BEGIN)[0]
            if PAGE.exists()
            else "# How good is the learning-rate verdict?\n\n"
        )
        PAGE.write_text(head + BEGIN + "\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
