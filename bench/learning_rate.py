"""Predicted against real edges of stability: where does training really diverge?

Every case is a small network, an optimizer and a batch size on scikit-learn's digits. The largest stable
learning rate is predicted from one probe at initialisation, then the case is trained for real at multiples
of it. ``make bench-rate`` writes docs/learning-rate.md.

  python bench/learning_rate.py                 all cases, about 10 minutes on one core
  python bench/learning_rate.py --half development --only adam
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
from evengrad.theory.stability import largest_stable, verdict
from evengrad.values.probe import Rate

MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
BEYOND = 8  # doublings or halvings tried past these, to find a real edge outside
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
    "nesterov": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9, nesterov=True),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}
BATCHES = (32, 64, 128, 256)


@dataclass(frozen=True)
class Case:
    """One training to be."""

    network: Network
    optimizer: str
    batch: int

    @property
    def name(self) -> str:
        """For tables and the cache."""
        return f"{self.network.name} {self.optimizer} {self.batch}"


def cases() -> list[Case]:
    """Each network with each optimizer; the batch sizes take turns."""
    found = []
    for i, network in enumerate(NETWORKS):
        for j, optimizer in enumerate(OPTIMIZERS):
            found.append(Case(network, optimizer, BATCHES[(i + j) % len(BATCHES)]))
    return found


# --- training -------------------------------------------------------------------------------------


def data() -> tuple[Any, Any]:
    """1,797 digits, normalised."""
    x, y = load_digits(return_X_y=True)
    x = torch.tensor((x - x.mean()) / x.std(), dtype=torch.float32).reshape(-1, 1, 8, 8)
    return x, torch.tensor(y)


X, Y = data()


def probe(case: Case) -> dict[str, float]:
    """Critical rate and sharpness at initialisation, by one probe on the first batch."""
    torch.manual_seed(0)
    model = case.network.build()
    optimizer = OPTIMIZERS[case.optimizer](model.parameters(), 1e-3)
    result = evengrad.check(
        model,
        loss=nn.CrossEntropyLoss(),
        batch=_batch(0, case.batch),
        optimizer=optimizer,
        precise=True,
    )
    rate = result.probe.rate
    assert rate is not None
    return {
        "critical": rate.critical,
        "sharpness": float(rate.sharpness or math.nan),
        "passes": rate.passes,
    }


def _batch(step: int, size: int) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(step)
    index = torch.randint(len(X), (size,), generator=generator)
    return X[index], Y[index]


def train(case: Case, rate: float) -> list[float]:
    """Loss at the start, its largest and the mean of its last quarter; infinite where it was not finite."""
    torch.manual_seed(0)
    model = case.network.build()
    optimizer = OPTIMIZERS[case.optimizer](model.parameters(), rate)
    losses = []
    for step in range(STEPS):
        x, y = _batch(step, case.batch)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            return [losses[0], 1e300, 1e300]
    tail = losses[-STEPS // 4 :]
    return [losses[0], max(losses), sum(tail) / len(tail)]


def outcome(start: float, largest: float, end: float) -> str:
    """survived, catapulted or diverged; stated before anything was trained.

    diverged: not finite, or the last quarter's mean above both the start and chance (ln 10); or the loss
    rose to twice its start (and chance) and ended no better than chance, its units dead.
    catapulted: it rose so far and then came down to less than chance.
    """
    level = max(start, CHANCE)
    rose = largest > 2 * level
    if end > level or (rose and end > 0.98 * CHANCE):
        return "diverged"
    return "catapulted" if rose else "survived"


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

    def probe(self, case: Case) -> dict[str, float]:
        """At initialisation."""
        found: dict[str, float] = self.of(f"{case.name} probe", lambda: probe(case))
        return found

    def run(self, case: Case, rate: float) -> str:
        """One training."""
        return outcome(*self.of(f"{case.name} {rate:.6g}", lambda: train(case, rate)))


# --- judging --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One case: predicted edge, what became of each multiple of it, and the real edge over the predicted."""

    case: Case
    predicted: float
    outcomes: dict[float, str]
    real: float
    rate: Rate


def judge(case: Case, results: Results) -> Row:
    """Train at the multiples; go on outside where none or all diverge."""
    kept = results.probe(case)
    method = method_of(OPTIMIZERS[case.optimizer]([nn.Parameter(torch.zeros(1))], 1e-3))
    rate = Rate(1e-3, kept["critical"], int(kept["passes"]), method)
    predicted = largest_stable(rate)
    outcomes = {m: results.run(case, m * predicted) for m in MULTIPLES}
    return Row(case, predicted, outcomes, _real(case, predicted, outcomes, results), rate)


def _real(case: Case, predicted: float, outcomes: dict[float, str], results: Results) -> float:
    """Between the largest multiple below the first divergence and that one, geometric mean."""
    bad = [m for m in MULTIPLES if outcomes[m] == "diverged"]
    if bad and bad[0] > MULTIPLES[0]:
        return bad[0] / math.sqrt(2)
    factor = 0.5 if bad else 2.0
    multiple = MULTIPLES[0] if bad else MULTIPLES[-1]
    for _ in range(BEYOND):
        multiple *= factor
        diverged = results.run(case, multiple * predicted) == "diverged"
        if diverged != bool(bad):
            break
    return multiple * math.sqrt(2) if bad else multiple / math.sqrt(2)


def called(row: Row, multiple: float) -> str:
    """The verdict at a multiple of the predicted edge."""
    return verdict(replace(row.rate, learning_rate=multiple * row.predicted))


def report(rows: list[Row]) -> list[str]:
    """Markdown."""
    lines = []
    for half in ("development", "held-out"):
        some = [row for row in rows if row.case.network.half == half]
        if some:
            lines += [
                "",
                f"## {half.capitalize()}: {len(some)} cases",
                "",
                *_figures(some),
                "",
                *_table(some),
            ]
    return lines


def _share(hits: list[bool]) -> str:
    return f"{sum(hits)} of {len(hits)} ({sum(hits) / max(len(hits), 1):.0%})"


def _figures(rows: list[Row]) -> list[str]:
    low = [row.outcomes[m] != "diverged" for row in rows for m in (0.25, 0.5)]
    high = [
        row.outcomes[16.0] == "diverged" or called(row, 16.0) == "catapult"
        for row in rows
        if row.case.network.relu
    ]
    near = [0.5 <= row.real <= 2.0 for row in rows]
    grown = Counter((called(row, m), o) for row in rows for m, o in row.outcomes.items())
    lines = [
        f"* Runs at 0.25 and 0.5 of the predicted edge that do not diverge: {_share(low)}; goal 95%.",
        f"* ReLU runs at 16 times the predicted edge that diverge, or were called catapult: {_share(high)}; "
        "goal 95%.",
        f"* Predicted edge within a factor 2 of the real one: {_share(near)}; goal 80%. Within 4: "
        f"{_share([0.25 <= row.real <= 4.0 for row in rows])}.",
        "",
        "| called | survived | catapulted | diverged |",
        "| --- | ---: | ---: | ---: |",
    ]
    for word in ("safe", "catapult", "diverges"):
        counts = [grown[word, o] for o in ("survived", "catapulted", "diverged")]
        lines.append(f"| {word} | {counts[0]} | {counts[1]} | {counts[2]} |")
    return lines


def _table(rows: list[Row]) -> list[str]:
    marks = {"survived": "+", "catapulted": "^", "diverged": "-"}
    lines = [
        "| network, optimizer, batch | predicted edge | at 1/4 ... 16 of it | real / predicted |",
        "| --- | ---: | --- | ---: |",
    ]
    for row in rows:
        told = " ".join(marks[row.outcomes[m]] for m in MULTIPLES)
        lines.append(f"| {row.case.name} | {row.predicted:.3g} | `{told}` | {row.real:.2g} |")
    for name in OPTIMIZERS:
        ratios = [row.real for row in rows if row.case.optimizer == name]
        if ratios:
            lines.append(f"| **{name}**, median | | | {median(ratios):.2g} |")
    return lines


BEGIN = "<!-- bench/learning_rate.py writes from here -->"


def main() -> None:
    """Train what is missing, print, and write the page where nothing was left out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--half", choices=("development", "held-out", "both"), default="both")
    parser.add_argument("--only", default="", help="part of a case's name")
    given = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [c for c in cases() if given.half in ("both", c.network.half) and given.only in c.name]
    results = Results()
    rows = [judge(c, results) for c in track(chosen, "training", disable=not sys.stderr.isatty())]
    lines = report(rows)
    print("\n".join(lines))
    if given.half == "both" and not given.only:
        head = (
            PAGE.read_text().split(BEGIN)[0]
            if PAGE.exists()
            else "# How good is the learning-rate verdict?\n\n"
        )
        PAGE.write_text(head + BEGIN + "\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
