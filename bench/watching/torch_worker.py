"""One network in PyTorch, in all variants: JSON lines on standard output."""

from __future__ import annotations

import argparse
import copy
import functools
import sys
from time import perf_counter
from typing import Any

import torch
from torch.nn import functional as F

from bench.watching.host_reads import count
from bench.watching.lanes import Baton, Variant, race
from bench.watching.nets import NETS, Net
from bench.watching.samples import CYCLE, Speaker
from bench.watching.ways import RATE, ROWS, Row, Training, Way


def prepare(net: Net, row: Row) -> tuple[Way, Training, Any, Any]:
    """The same weights and data for all; a bound far above the gradient's norm, or a tenth of it."""
    torch.manual_seed(0)
    model, (x, y) = net.make(), net.batch()
    trial = copy.deepcopy(model)
    F.cross_entropy(trial(x), y).backward()
    norm = float(torch.nn.utils.get_total_norm([p.grad for p in trial.parameters()]))
    parameters = list(model.parameters())
    if row.fused:
        optimizer: Any = torch.optim.AdamW(parameters, lr=RATE, fused=True)
    else:  # not AdamW: its temporaries make it so slow and noisy on a CPU that a clip's cost drowns in it
        optimizer = torch.optim.SGD(parameters, lr=RATE, momentum=0.9)
    training = Training(model, optimizer, norm * (0.1 if row.key == "binds" else 1e4))
    way = row.way()
    way.attach(training)
    return way, training, x, y


def step(way: Way, training: Training, x: Any, y: Any) -> float:
    """One training step; when its backward pass ended."""
    training.optimizer.zero_grad()
    way.begin(training)
    with way.during():
        F.cross_entropy(training.model(x), y).backward()
    backward = perf_counter()
    way.update(training)
    training.step += 1
    return backward


def run(net: Net, row: Row, threads: int, baton: Baton) -> dict[str, Any]:
    """Train; then look whether the clip did what it should, and count host reads."""
    torch.set_num_threads(threads)
    way, training, x, y = prepare(net, row)
    small = x[:2], y[:2]
    while (turn := baton.wait()) != "end":
        baton.give(step(way, training, *(small if turn == "short" else (x, y))))
    reads = count(lambda: step(way, training, *small), training.step, 2 * CYCLE)
    return {"wrong": wrong(row, training), "reads": reads}


def wrong(row: Row, training: Training) -> str:
    """What is wrong after the rounds: a clip that did not clip, or that clipped."""
    norm = float(torch.nn.utils.get_total_norm([p.grad for p in training.model.parameters()]))
    if row.key == "binds" and not norm < training.bound * 1.001:
        return f"its bound {training.bound:.3g} did not bind: the norm is {norm:.3g}"
    if row.key == "never" and not norm < training.bound / 10:
        return f"its bound {training.bound:.3g} is near the norm {norm:.3g}"
    return ""


def main() -> None:
    """Measure all rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", choices=NETS)
    parser.add_argument("--rounds", type=int, default=5 * CYCLE)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    say = Speaker(sys.stdout)
    sys.stdout = sys.stderr  # what peers print
    net = NETS[chosen.net]
    say(about=net.about)
    variants = [
        Variant(
            r.name,
            functools.partial(run, net, r, chosen.threads),
            r.key,
            r.fused,
            r.few,
        )
        for r in ROWS
    ]
    short = -(-chosen.rounds // (2 * CYCLE)) * CYCLE
    race(variants, chosen.rounds, say, short=short)


if __name__ == "__main__":
    main()
