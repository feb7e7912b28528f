"""Do plain networks of 50 and 100 layers train as well as their residual twin, and DyT as LayerNorm?

python -m bench.depth            some minutes on one core; digits of 8x8 from scikit-learn
python -m bench.depth --quick    20 layers, one rate: the bench itself
python -m bench.depth --write    into docs/depth.md
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from bench.depth.networks import NORMS, Transformer, rows

PAGE = Path(__file__).parents[2] / "docs" / "depth.md"
BEGIN, END = "<!-- bench/depth writes from here -->", "<!-- bench/depth writes to here -->"
STEPS, BATCH, TEST = 200, 64, 297
RATES = (1e-3, 3e-4)  # of Adam; each network gets its own best, by the training loss
SEEDS = (0, 1)


@cache
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """(flat images, labels), standardised and shuffled."""
    data = load_digits()
    x = torch.tensor(data.data, dtype=torch.float32)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return ((x - x.mean()) / x.std())[order], torch.tensor(data.target)[order]


def train(make: Callable[[], nn.Module], rate: float, seed: int) -> tuple[float, float]:
    """(mean training loss of the last 30 steps, accuracy on digits not trained on)."""
    torch.manual_seed(seed)
    model, (x, y) = make(), digits()
    optimizer = torch.optim.Adam(model.parameters(), rate)
    batches, losses = torch.Generator().manual_seed(seed), []
    for _ in range(STEPS):
        chosen = torch.randint(TEST, len(x), (BATCH,), generator=batches)
        loss = F.cross_entropy(model(x[chosen]), y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        right = (model(x[:TEST]).argmax(1) == y[:TEST]).float().mean().item()
    last = sum(losses[-30:]) / 30
    return (last if math.isfinite(last) else math.inf), right


def row(name: str, make: Callable[[], nn.Module], rates: Sequence[float]) -> str:
    """The best rate with the first seed, then the others with it."""
    first = {rate: train(make, rate, SEEDS[0]) for rate in rates}
    best = min(first, key=lambda rate: first[rate][0])
    found = [first[best], *(train(make, best, seed) for seed in SEEDS[1 : len(rates)])]
    losses, right = zip(*found, strict=True)
    spread = f"{min(right):.1%} to {max(right):.1%}" if len(right) > 1 else ""
    return f"| {name} | {best:g} | {sum(losses) / len(losses):.3f} | {sum(right) / len(right):.1%} | {spread} |"


def tables(depths: Sequence[int], rates: Sequence[float]) -> list[str]:
    """Both, as they are measured."""
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    head = "| Adam's rate | training loss | test accuracy | over seeds |\n|---|---|---|---|---|"
    blocks = 6
    say(f"| {blocks} blocks of a transformer, before each branch {head}")
    for name, norm in NORMS.items():
        say(row(name, lambda norm=norm: Transformer(blocks, norm), rates))
    say("")
    for depth in depths:
        say(f"| {depth} layers {head}")
        for name, make in rows().items():
            say(row(name, lambda make=make, depth=depth: make(depth), rates))
        say("")
    return lines


def main() -> None:
    """Measure, print and perhaps write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--depth", type=int, action="append")
    given = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    depths = given.depth or ((20,) if given.quick else (50, 100))
    lines = tables(depths, RATES[1:2] if given.quick else RATES)
    print(f"{time.process_time() - began:.0f} s of one core")
    if given.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text("\n".join([before + BEGIN, "", *lines, "", END]) + after)


if __name__ == "__main__":
    main()
