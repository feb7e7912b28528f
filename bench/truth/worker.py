"""One framework's part of the zoo of truth, in a process of its own: a JSON line a case on standard output.

Each case is checked as a user would, then trained for real until it is clear whether it learns.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench.truth import data
from bench.truth.architectures import Architecture, every
from bench.truth.training import judge

BATCH, STEPS, FIRST, SEED = 8, 150, 24, 1


def given(architecture: Architecture) -> tuple[tuple[Any, ...], Any, Any]:
    """Inputs, targets, and what the constant answer is compared with."""
    if architecture.task == "images":
        x, y = data.images(architecture.side)
        return (x,), y, y
    x, y = data.tokens()
    if architecture.task == "tokens":
        return (x,), y, y
    if architecture.task == "next token":
        return (x[:, :-1],), x[:, 1:], x[:, 1:]
    back = x[:, ::-1][:, :16].copy()
    start = np.full((len(x), 1), data.START)
    return (x, np.concatenate([start, back[:, :-1]], axis=1)), back, back


def batches(inputs: Sequence[Any], targets: Any) -> Callable[[int], tuple[list[Any], Any]]:
    """The batch of a step."""
    rng = np.random.default_rng(SEED)
    order = np.concatenate([rng.permutation(len(targets)) for _ in range(60)])

    def batch(step: int) -> tuple[list[Any], Any]:
        own = order[(step * BATCH) % len(order) :][:BATCH]
        return [part[own] for part in inputs], targets[own]

    return batch


def case(architecture: Architecture, optimizer: str, check: bool, train: bool) -> dict[str, Any]:
    """Check it and train it, or one of both."""
    if architecture.framework == "torch":
        from bench.truth.in_torch import Trained
    else:
        from bench.truth.in_keras import Trained
    inputs, targets, answers = given(architecture)
    batch = batches(inputs, targets)
    trained = Trained(architecture, optimizer, SEED)
    found: dict[str, Any] = {}
    if check:
        started = time.perf_counter()
        result = trained.check(*batch(0))
        found["findings"] = [
            {"code": f.code, "title": f.title, "severity": f.severity.name.lower()}
            for f in result.findings
        ]
        found["check_s"] = time.perf_counter() - started
        _keep(f"{architecture.library} {architecture.name} {optimizer}", result.probe)
    if train:
        found["truth"] = truth(trained, batch, data.constant_loss(answers))
    return found


def truth(trained: Any, batch: Callable[[int], Any], constant: float) -> dict[str, Any]:
    """Train until it is clear."""
    started = time.perf_counter()
    losses: list[float] = []
    verdict = None
    while verdict is None:
        losses.append(trained.step(*batch(len(losses))))
        if len(losses) >= STEPS or not math.isfinite(losses[-1]):
            verdict = judge(losses, constant, final=True)
        elif len(losses) >= FIRST and len(losses) % 6 == 0:
            verdict = judge(losses, constant, final=False)
    return {
        "verdict": verdict, "steps": len(losses), "first": float(np.mean(losses[:5])),
        "last": float(np.mean(losses[-12:])), "constant": constant, "train_s": time.perf_counter() - started,
    }  # fmt: skip


def _keep(name: str, probe: Any) -> None:
    folder = os.environ.get("EVENGRAD_BENCH_PROBES")
    if folder:
        import pickle
        from dataclasses import replace

        with open(f"{folder}/{name}.pickle", "wb") as file:
            pickle.dump(replace(probe, spec=None), file)


def main() -> None:
    """The cases that standard input names, a JSON line each: {"name", "optimizer", "check", "train"}."""
    parser = argparse.ArgumentParser()
    parser.parse_args()
    known = {f"{a.library} {a.name}": a for a in every()}
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        for line in sys.stdin:
            asked = json.loads(line)
            try:
                found = case(
                    known[asked["name"]], asked["optimizer"], asked["check"], asked["train"]
                )
            except Exception as error:
                traceback.print_exc()
                found = {"error": f"{type(error).__name__}: {error}".split("\n")[0][:200]}
            print(json.dumps({**asked, **found}), file=out, flush=True)


if __name__ == "__main__":
    main()
