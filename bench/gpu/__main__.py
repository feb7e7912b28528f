"""What watching and checking cost on one GPU, in ratios to the bare training in the same run.

python -m bench.gpu                 all of it; some minutes on an H100; nothing where there is no GPU
python -m bench.gpu --only resnet50
python -m bench.gpu --small         the bench itself, on whatever there is, with networks of no size
python -m bench.gpu --write         into docs/watching-cost.md
"""

from __future__ import annotations

import argparse
import contextlib
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

import evengrad
from bench.gpu.nets import OPTIMIZERS, Training, trainings

PAGE = Path(__file__).parents[2] / "docs" / "watching-cost.md"
BEGIN, END = "<!-- bench/gpu writes from here -->", "<!-- bench/gpu writes to here -->"
WAYS = (
    "bare",
    "bare, a second copy",
    "clip_grad_norm_",
    "evengrad.watch",
    "evengrad, clip never binds",
    "evengrad, clip always binds",
    "a loop of .item()",
    "torch-module-monitor",
)


class Bench:
    """One device; what it says is also kept, for the page."""

    def __init__(self, device: str, small: bool, rounds: int, steps: int) -> None:
        self.device, self.small, self.rounds, self.steps = device, small, rounds, steps
        self.lines: list[str] = []

    def say(self, line: str = "") -> None:
        """Print it, and keep it."""
        print(line, flush=True)
        self.lines.append(line)

    def wait(self) -> None:
        """Until the device has done all."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def peak(self) -> float:
        """The most memory since the last call, in GB."""
        if self.device != "cuda":
            return float("nan")
        found = torch.cuda.max_memory_allocated() / 1e9
        torch.cuda.reset_peak_memory_stats()
        return found

    # --- watch -------------------------------------------------------------------------------------

    def watching(self, training: Training, optimizer: str, compiled: bool = False) -> None:
        """A table: every way to train, one after the other in a new order each round."""
        title = f"{training.name}, {optimizer}{', torch.compile' if compiled else ''}"
        self.say(f"\n### {title}\n")
        self.say("| | step | adds | waits a step | goal |")
        self.say("| --- | ---: | ---: | ---: | ---: |")
        with contextlib.ExitStack() as stack:
            lanes = {}
            for way in WAYS:
                try:
                    lanes[way] = stack.enter_context(self.lane(training, optimizer, way, compiled))
                    lanes[way](24)
                except ModuleNotFoundError:
                    continue
            times: dict[str, list[float]] = {way: [] for way in lanes}
            for _ in range(self.rounds):
                for way in random.sample(list(lanes), len(lanes)):
                    self.wait()
                    began = time.perf_counter()
                    lanes[way](self.steps)
                    self.wait()
                    times[way].append((time.perf_counter() - began) / self.steps)
            waits = {way: self.waits(lanes[way]) for way in lanes}
        for way in lanes:
            ratio = median(a / b for a, b in zip(times[way], times["bare"], strict=True))
            goal = training.goal if way == "evengrad.watch" else ""
            shown = (
                f"{1e3 * median(times[way]):.3f} ms | {100 * (ratio - 1):+.1f}% | {waits[way]:.1f}"
            )
            self.say(f"| {way} | {shown} | {goal} |")

    @contextlib.contextmanager
    def lane(
        self, training: Training, optimizer: str, way: str, compiled: bool
    ) -> Iterator[Callable[[int], None]]:
        """A training of its own; what is given makes so many steps of it."""
        torch.manual_seed(0)
        net = training.build().to(self.device)
        chosen = OPTIMIZERS[optimizer](net.parameters())
        called = torch.compile(net) if compiled else net
        data, made = training.batches(), 0
        monitor = None
        if way == "torch-module-monitor":
            from torch_module_monitor import ModuleMonitor

            monitor = ModuleMonitor()
            monitor.set_module(net)

        def steps(count: int) -> None:
            nonlocal made
            for _ in range(count):
                x, y = data[made % len(data)]
                if monitor is not None:
                    monitor.begin_step(made)
                chosen.zero_grad(set_to_none=True)
                with self.cast(training):
                    loss = training.loss(called(x), y)
                loss.backward()
                if way == "clip_grad_norm_":
                    nn.utils.clip_grad_norm_(net.parameters(), 1e9)
                if way == "a loop of .item()":
                    _ = [p.grad.norm().item() for p in net.parameters() if p.grad is not None]
                if monitor is not None:
                    monitor.monitor_gradients()
                chosen.step()
                if monitor is not None:
                    monitor.end_step()
                made += 1

        with self.watched(net, chosen, way):
            yield steps

    @contextlib.contextmanager
    def watched(self, net: Any, optimizer: Any, way: str) -> Iterator[None]:
        """By evengrad, if that is the way."""
        clips = {"evengrad, clip never binds": 1e9, "evengrad, clip always binds": 1e-2}
        if not way.startswith("evengrad"):
            yield
            return
        with tempfile.TemporaryDirectory() as folder:
            handle = evengrad.watch(net, optimizer, clip=clips.get(way), folder=folder)
            try:
                yield
            finally:
                handle.remove()

    def cast(self, training: Training) -> Any:
        """Autocast as the training has it."""
        if training.cast is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device, training.cast)

    def waits(self, steps: Callable[[int], None]) -> float:
        """How often a step waits for the device, on average over ten; NaN where nobody counts."""
        if self.device != "cuda":
            return float("nan")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                steps(10)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(one.message) for one in told) / 10

    # --- check, bits -------------------------------------------------------------------------------

    def checking(self, training: Training) -> None:
        """A row: a check in forward and backward passes, and its memory against a step's."""
        torch.manual_seed(0)
        net = training.build().to(self.device)
        x, y = training.batches()[0]
        optimizer = OPTIMIZERS["AdamW"](net.parameters())

        def one_pass() -> None:
            with self.cast(training):
                loss = training.loss(net(x), y)
            loss.backward()
            net.zero_grad()

        one_pass()
        self.peak()
        passes = [self.seconds(one_pass) for _ in range(5)]
        step_peak = self.peak()

        def check() -> None:
            with self.cast(training):
                evengrad.check(net, loss=training.loss, batch=(x, y), optimizer=optimizer)

        first, again = self.seconds(check), min(self.seconds(check) for _ in range(3))
        one, peak = median(passes), self.peak()
        self.say(
            f"| {training.name} | {1e3 * one:.1f} ms | {first / one:.1f} | {again / one:.1f} | "
            f"{step_peak:.2f} GB | {peak / step_peak:.2f} |"
        )

    def seconds(self, call: Callable[[], None]) -> float:
        """Of a call and all that it has the device do."""
        self.wait()
        began = time.perf_counter()
        call()
        self.wait()
        return time.perf_counter() - began

    def bits(self, training: Training) -> None:
        """A row an optimizer and dtype: whether losses and weights are the same bits, watched or not."""
        torch.use_deterministic_algorithms(True, warn_only=True)
        for optimizer in OPTIMIZERS:
            for cast in (None, torch.bfloat16):
                found = [
                    self.trained(training, optimizer, cast, way) for way in (*WAYS[:2], WAYS[3])
                ]
                again, watched = (
                    all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
                    for other in found[1:]
                )
                dtype = "float32" if cast is None else "bfloat16"
                self.say(f"| {optimizer} | {dtype} | {again} | {watched} |")
        torch.use_deterministic_algorithms(False)

    def trained(self, training: Training, optimizer: str, cast: Any, way: str) -> list[Any]:
        """Losses and weights after 40 steps."""
        torch.manual_seed(0)
        net = training.build().to(self.device)
        chosen = OPTIMIZERS[optimizer](net.parameters())
        data, losses = training.batches(), []
        with self.watched(net, chosen, way):
            for step in range(40):
                x, y = data[step % len(data)]
                chosen.zero_grad()
                context = (
                    contextlib.nullcontext() if cast is None else torch.autocast(self.device, cast)
                )
                with context:
                    loss = training.loss(net(x), y)
                loss.backward()
                chosen.step()
                losses.append(loss.detach())
        return [torch.stack(losses), *(p.detach() for p in net.parameters())]


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [training.name for training in trainings("cpu", True)]
    parser.add_argument("--only", choices=names, nargs="+", default=names, metavar="NET")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not given.small:
        print("bench-gpu: there is no GPU here; nothing was measured.")
        return
    bench = Bench(device, given.small, *((2, 2) if given.small else (12, 10)))
    machine = (
        torch.cuda.get_device_name() if device == "cuda" else "a CPU, for a look at the bench alone"
    )
    bench.say(
        f"Measured on {machine}; torch {torch.__version__}. Ratios hold elsewhere, milliseconds do not."
    )
    chosen = [
        training for training in trainings(device, given.small) if training.name in given.only
    ]
    for training in chosen:
        for optimizer in training.optimizers:
            bench.watching(training, optimizer)
    if device == "cuda" and "gpt2-124m" in given.only:
        bench.watching(
            next(t for t in chosen if t.name == "gpt2-124m"), "AdamW fused", compiled=True
        )
    bench.say("\n### check\n\nGoals: at most 5 passes, and 1.3 times the memory.\n")
    bench.say(
        "| | forward and backward | first check, passes | again | peak of a pass | of a check |"
    )
    bench.say("| --- | ---: | ---: | ---: | ---: | ---: |")
    for training in chosen:
        bench.checking(training)
    bench.say("\n### The same bits, watched or not\n")
    bench.say("| optimizer | | bare twice | watched |\n| --- | --- | --- | --- |")
    bench.bits(next(t for t in trainings(device, True) if t.name == "gpt2-124m"))
    if given.write:
        _write(bench.lines)


def _write(lines: list[str]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    made = "\n".join([BEGIN, "", *lines, "", END])
    if BEGIN in page:
        made = page[: page.index(BEGIN)] + made + page[page.index(END) + len(END) :]
    else:
        made = page.rstrip() + "\n\n## On a GPU\n\n" + made + "\n"
    PAGE.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
