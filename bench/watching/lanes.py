"""Variants side by side: each in a process of its own, one step each in turn, in a new order each round.

Processes of their own, because watches patch what they watch (evengrad ``Tensor.backward``, wandb the model's
hooks): in one process every variant would pay for the others.
"""

from __future__ import annotations

import logging
import multiprocessing
import random
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from time import perf_counter, process_time
from typing import Any, Literal

from bench.watching.samples import CYCLE, WARM, Samples, Speaker

Times = tuple[float, float, float]
Turn = Literal["step", "short", "end"]
"""short: a step with a very small batch."""
FEW = 3 * CYCLE


class Missing(Exception):
    """Not installed, or not there yet; its text says which."""


@dataclass(frozen=True)
class Variant:
    """A row of the table. run: trains, one step at each ``Baton.wait``, and returns what else there is to say.
    fused: of the optimizer, and which bare step the row is compared with. key: what the figures know it by.
    few: costs so much that three cycles of rounds will do.
    """

    name: str
    run: Callable[[Baton], dict[str, Any]]
    key: str = ""
    fused: bool = False
    few: bool = False


class Baton:
    """What a variant's process holds: ``wait`` for the turn, ``give`` the times back."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.over = False
        self._cpu = self._start = 0.0

    def wait(self) -> Turn:
        """Until it is this variant's turn. The clock starts."""
        self._connection.send({"ready": True})
        turn: Turn = self._connection.recv()
        self.over |= turn != "step"
        self._cpu, self._start = process_time(), perf_counter()
        return turn

    def give(self, backward: float | None = None) -> None:
        """The step is done. backward: when its backward pass ended, if that can be told."""
        end = perf_counter()
        between = end if backward is None else backward
        self._connection.send((between - self._start, end - between, process_time() - self._cpu))


class LaneError(Exception):
    """A variant's process failed; ``why`` is the last line of its traceback."""

    def __init__(self, name: str, trace: str) -> None:
        super().__init__(f"{name}\n{trace}")
        self.why = trace.strip().splitlines()[-1]


@dataclass
class _Lane:
    variant: Variant
    process: Any
    connection: Connection
    samples: Samples = field(default_factory=Samples)
    short: Samples = field(default_factory=Samples)

    def step(self, turn: Turn) -> Times:
        """One step of its process; seconds up to the end of the backward pass, after it, and of the CPU."""
        self.connection.send(turn)
        times: Times = self.answer()
        self.answer()  # ready again
        return times

    def answer(self) -> Any:
        """What the process sends next; its failures are raised here."""
        try:
            message = self.connection.recv()
        except EOFError:
            raise LaneError(self.variant.name, "its process ended") from None
        if isinstance(message, dict) and "failed" in message:
            raise LaneError(self.variant.name, message["failed"])
        return message


def race(variants: Sequence[Variant], rounds: int, say: Speaker, *, short: int = 0) -> None:
    """Measure all of them; a message for each at the end. The first steps warm up, uncounted.

    short: rounds of short steps after the others.
    """
    lanes, order, ends = _start(variants, say), random.Random(0), WARM + rounds
    for number in range(ends + short):
        few = number >= WARM + FEW
        still = [lane for lane in lanes if not (few and lane.variant.few)]
        for lane in order.sample(still, len(still)):
            try:
                times = lane.step("step" if number < ends else "short")
            except LaneError as error:
                lanes.remove(lane)
                _leave_out(lane, f"failed ({error.why})", say)
                continue
            if number >= WARM:
                (lane.samples if number < ends else lane.short).add(number, times)
        say(done=number + 1, of=ends + short)
    for lane in lanes:
        _finish(lane, say)


def _finish(lane: _Lane, say: Speaker) -> None:
    lane.connection.send("end")
    end, variant = lane.answer(), lane.variant
    for warning in end.pop("warnings"):
        say(warning=f"{variant.name}: {warning}")
    say(
        name=variant.name,
        key=variant.key,
        fused=variant.fused,
        samples=lane.samples.json(),
        short=lane.short.json(),
        **end,
    )
    lane.process.join()


def _start(variants: Sequence[Variant], say: Speaker) -> list[_Lane]:
    fork = multiprocessing.get_context("fork")
    started = []
    for variant in variants:
        ours, theirs = fork.Pipe()
        process = fork.Process(target=_main, args=(variant, theirs), daemon=True)
        process.start()
        theirs.close()
        started.append(_Lane(variant, process, ours))
    ready = []
    for lane in started:
        try:
            message = lane.answer()
        except LaneError as error:
            message = {"missing": f"failed ({error.why})"}
        if "missing" in message:
            _leave_out(lane, message["missing"], say)
        else:
            ready.append(lane)
    return ready


def _leave_out(lane: _Lane, why: str, say: Speaker) -> None:
    """A row without figures. Without the bare step there would be none at all."""
    if lane.variant.key == "bare":
        raise RuntimeError(f"the bare step: {why}")
    say(missing=lane.variant.name, fused=lane.variant.fused, why=why)


def _main(variant: Variant, connection: Connection) -> None:
    """A variant's process."""
    baton = Baton(connection)
    logged = _Collect(baton)
    logging.getLogger("evengrad").addHandler(logged)
    try:
        end = variant.run(baton)
        connection.send({"reads": {}, "wrong": "", "warnings": logged.messages} | end)
    except Missing as missing:
        connection.send({"missing": str(missing)})
    except Exception:
        traceback.print_exc()
        connection.send({"failed": traceback.format_exc()})


class _Collect(logging.Handler):
    """What evengrad logs during the rounds: a watch that went off would look cheap."""

    def __init__(self, baton: Baton) -> None:
        super().__init__()
        self.baton = baton
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if not self.baton.over and message not in self.messages:
            self.messages.append(message)
