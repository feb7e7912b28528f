"""How a run grows: its file, its page and the watch's memory, for a long training of a large network.

  python -m bench.scale                                 100,000 steps of 300 tensors; a minute
  python -m bench.scale --steps 10000 --tensors 1000

Sizes are exact; seconds are this machine's. The file and the page are left in --keep FOLDER.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import evengrad
from evengrad.recording.writer import Writer
from evengrad.report import run_html
from evengrad.values.run import LAYER_FIGURES, TENSOR_FIGURES, Detail, Step, Subject, Tensor

EVERY = 10
WAITING = 2_000
"""Rows given and not yet written: a real training is slower than the disk, this loop is not."""


def written(folder: Path, steps: int, tensors: int) -> float:
    """A run file of random figures, in megabytes."""
    layers = tuple(f"layers.{i}" for i in range(tensors // 2))
    trained = tuple(
        Tensor(f"{layer}.{part}", layer, shape, fan)
        for layer in layers
        for part, shape, fan in (("weight", (64, 64), 64.0), ("bias", (64,), None))
    )
    settings = {
        "clip": None,
        "clip_kind": None,
        "clip_bound": None,
        "guard": "stop",
        "every": EVERY,
    }
    subject = Subject("train.py", "Net", "Adam", "torch", "torch", (), trained, settings)
    random = np.random.default_rng(0)
    writer = Writer(folder, subject, print)
    for step in track(range(steps), "Writing", transient=True):
        loss = 2.3 * np.exp(-step / steps) + 0.1 * random.normal()
        writer.step(Step(step, step * 0.01, float(loss), 1e-3, float(random.lognormal()), 1.0))
        if step % EVERY == 0:
            figures = random.lognormal(size=(len(trained), len(TENSOR_FIGURES)))
            shares = random.uniform(size=(len(layers), len(LAYER_FIGURES)))
            writer.detail(Detail(step, figures, shares, layers))
        while len(writer._given) > WAITING:
            time.sleep(0.05)
    writer.close("finished")
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def remembered(tensors: int, steps: int = 100) -> float:
    """What a watch of a PyTorch network holds in Python's memory after so many steps, in megabytes."""
    import torch

    def training(pairs: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        net = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(pairs)))
        return net, torch.optim.SGD(net.parameters(), 1e-4)

    def run(net: torch.nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            net(torch.ones(2, 4)).pow(2).mean().backward()
            optimizer.step()

    with tempfile.TemporaryDirectory() as folder:
        few = training(1)
        with evengrad.watch(*few, folder=folder):  # what is loaded once
            run(*few, 2 * EVERY)
        net, optimizer = training(tensors // 2)
        run(net, optimizer, 1)
        gc.collect()
        tracemalloc.start()
        with evengrad.watch(net, optimizer, folder=folder):
            run(net, optimizer, steps)
            time.sleep(1.0)  # the writer has caught up
            gc.collect()
            held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    return held / 1e6


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--tensors", type=int, default=300)
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    table = Table("", "found", "goal", title=f"{given.steps:,} steps, {given.tensors} tensors")
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        os.makedirs(folder, exist_ok=True)
        table.add_row("run file", f"{written(folder, given.steps, given.tensors):.0f} MB", "300 MB")
        start = time.perf_counter()
        run = evengrad.load(folder)
        findings = evengrad.diagnose(run)
        page = run_html.render(run, findings)
        (folder / "report.html").write_text(page, encoding="utf-8")
        table.add_row("making its page", f"{time.perf_counter() - start:.1f} s", "")
        table.add_row("the page", f"{len(page.encode()) / 1e6:.1f} MB", "5 MB")
    table.add_row(
        "watch of 1,000 tensors", f"{remembered(1_000):.1f} MB", "1 MB + 64 bytes a tensor and row"
    )
    Console().print(table)


if __name__ == "__main__":
    main()
