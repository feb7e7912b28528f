"""What is seen of a training while it goes on: a panel under the script's own output, or plain lines."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.text import Text

from evengrad.recording.listener import RunListener
from evengrad.report.run_text import sparkline
from evengrad.report.run_words import duration, happened, short
from evengrad.values.message import msg, translated
from evengrad.values.run import BAD_EVENTS, Detail, Event, EventKind, RunStatus, Step, Subject

_EVERY = 10.0  # seconds between two plain lines of progress
_MOST = 50  # plain lines of events
_REFRESH = 0.5  # seconds
_LINES = 5
_ROOM = 15  # rows that a terminal must have


class View(RunListener, Protocol):
    """A listener that is closed at the end."""

    def close(self) -> None: ...


@contextmanager
def viewing() -> Iterator[RunListener]:
    """A panel where stderr is a terminal, else plain lines; gone at the end."""
    console = Console(stderr=True, highlight=False)
    fits = console.is_terminal and not console.legacy_windows and console.size.height >= _ROOM
    fits = fits and not console.options.ascii_only
    view: View = Panel(console) if fits else Lines()
    try:
        yield view
    finally:
        view.close()


class Latest:
    """The latest of everything that a listener is given."""

    def __init__(self) -> None:
        self.runs = 0
        self.subject: Subject | None = None
        self.path: Path | None = None
        self.count = 0
        self.started = time.monotonic()
        self.last: Step | None = None
        self.detail: Detail | None = None
        self.norms: deque[float] = deque(maxlen=400)
        self.events: deque[Event] = deque(maxlen=2)
        self._times: deque[float] = deque(maxlen=50)

    def begin(self, subject: Subject, path: Path | None) -> None:
        """A run begins; speeds count from its first step."""
        self.runs += 1
        self.subject, self.path = subject, path

    def step(self, step: Step) -> None:
        """A step."""
        self.count += 1
        self.last = step
        self.norms.append(step.norm)
        self._times.append(time.monotonic())

    @property
    def speed(self) -> float | None:
        """Steps a second, of the last ones."""
        if len(self._times) < 2 or self._times[-1] == self._times[0]:
            return None
        return (len(self._times) - 1) / (self._times[-1] - self._times[0])

    def progress(self) -> str:
        """Step, speed, loss, gradient norm, in one line."""
        if self.last is None:
            return msg("waiting for the first step")
        speed = "" if self.speed is None else msg(" ({speed:.3g}/s)", speed=self.speed)
        loss = msg(", loss {loss:.4g}", loss=self.last.loss) if np.isfinite(self.last.loss) else ""
        clip = (
            msg(", clipped to {clipped:.3g}", clipped=self.last.clipped)
            if self.last.coefficient < 1
            else ""
        )
        return msg(
            "step {step:,}{speed}{loss}, gradient norm {norm:.3g}{clip}",
            step=self.last.step,
            speed=speed,
            loss=loss,
            norm=self.last.norm,
            clip=clip,
        )


class Lines:
    """One line at the beginning, one for each event, and one of progress at most every ten seconds."""

    def __init__(self, say: Callable[[str], None] | None = None) -> None:
        self._say = say or _say
        self._latest = Latest()
        self._events = 0
        self._next = time.monotonic() + _EVERY

    def begin(self, subject: Subject, path: Path | None) -> None:
        """A run begins."""
        self._latest.begin(subject, path)
        where = "" if path is None else msg("; the run file is {path}", path=path)
        self._say(
            msg(
                "watching {model} with {optimizer}{where}",
                model=subject.model,
                optimizer=subject.optimizer,
                where=where,
            )
        )

    def step(self, step: Step) -> None:
        """A step; a line where it is time for one."""
        self._latest.step(step)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY
            self._say(self._latest.progress())

    def detail(self, detail: Detail) -> None:
        """Not shown."""

    def event(self, event: Event) -> None:
        """A line; after many of them, none."""
        self._events += 1
        if self._events <= _MOST:
            self._say(msg("step {step:,}: {message}", step=event.step, message=happened(event)))
        if self._events == _MOST:
            self._say(msg("further events are in the run file only"))

    def end(self, status: RunStatus) -> None:
        """Not shown: the findings follow."""

    def close(self) -> None:
        """Nothing to take back."""


class Panel:
    """A few lines kept at the bottom of the terminal, as apt does: the script's output scrolls above them,
    untouched, so that its progress bars work as ever. Redrawn twice a second by a thread of its own.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._latest = Latest()
        self._height = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def begin(self, subject: Subject, path: Path | None) -> None:
        """A run begins: the panel appears."""
        self._latest.begin(subject, path)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="evengrad-live", daemon=True)
            self._thread.start()

    def step(self, step: Step) -> None:
        """A step."""
        self._latest.step(step)

    def detail(self, detail: Detail) -> None:
        """An observed step."""
        self._latest.detail = detail

    def event(self, event: Event) -> None:
        """Something happened: seen with the next redraw."""
        self._latest.events.append(event)

    def end(self, status: RunStatus) -> None:
        """Not shown: the findings follow."""

    def close(self) -> None:
        """Take the panel off, and give the terminal its rows back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2.0)
        with self._lock:
            if self._height:
                # Save the cursor, all rows scroll again, clear the panel's, restore the cursor.
                top = self._height - _LINES + 1
                self._write(f"\x1b7\x1b[r\x1b[{top};1H\x1b[J\x1b8")
                self._height = 0

    def _work(self) -> None:
        while not self._stop.wait(_REFRESH):
            with suppress(Exception), self._lock:  # a view never ends a training
                self._draw()

    def _draw(self) -> None:
        width, height = self._console.size
        if height < _ROOM:
            return
        top = height - _LINES + 1
        out = ""
        if height != self._height:
            # Room below the cursor first, so that the panel covers nothing; then rows above it scroll alone.
            out += "\n" * _LINES + f"\x1b[{_LINES}A" + f"\x1b7\x1b[1;{top - 1}r\x1b8"
            self._height = height
        lines = self._lines(width)
        out += "\x1b7\x1b[?25l"
        for row in range(_LINES):
            out += f"\x1b[{top + row};1H\x1b[2K" + (lines[row] if row < len(lines) else "")
        self._write(out + "\x1b[0m\x1b8\x1b[?25h")

    def _lines(self, width: int) -> list[str]:
        """The panel as text with escape codes."""
        system: Any = self._console.color_system
        paper = Console(
            file=io.StringIO(),
            width=width,
            force_terminal=True,
            color_system=system,
            highlight=False,
        )
        with paper.capture() as drawn:
            paper.print(_panel(self._latest))
        return drawn.get().splitlines()

    def _write(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()


def _panel(latest: Latest) -> RenderableType:
    """The panel's lines: a rule, progress, the gradient over time and layers, the last events."""
    last, subject = latest.last, latest.subject
    name = "" if subject is None else f" {subject.model} · {subject.optimizer}"
    more = msg(" · {runs} optimizers", runs=latest.runs) if latest.runs > 1 else ""
    elapsed = duration(time.monotonic() - latest.started)
    first = Text(no_wrap=True, overflow="ellipsis")
    if last is None:
        first.append(translated(msg("waiting for the first step")), "dim")
    else:
        speed = "" if latest.speed is None else f"{latest.speed:.3g}/s"
        for label, value in (
            (msg("step"), f"{last.step:,}"),
            ("", speed),
            ("", translated(elapsed)),
            (msg("loss"), short(last.loss)),
            (msg("rate"), short(last.rate)),
        ):
            first.append(f"{translated(label)} ", "dim").append(f"{value}  ")
    second = Text(no_wrap=True, overflow="ellipsis")
    if last is not None:
        second.append(f"{translated(msg('gradient'))} ", "dim").append(f"{last.norm:<9.3g}")
        second.append(sparkline(np.array(latest.norms), 30, most=True), "blue")
    if latest.detail is not None and len(latest.detail.tensors):
        second.append(f"  {translated(msg('layers'))} ", "dim").append(_profile(latest), "cyan")
    events = [_event(event) for event in latest.events] or [
        Text(translated(msg("no warnings")), style="dim")
    ]
    return Group(
        Rule(f"evengrad{name}{translated(more)}", style="dim", align="left"), first, second, *events
    )


def _profile(latest: Latest) -> str:
    """A block for each weight matrix, first layer first, by its gradient's rms."""
    assert latest.detail is not None and latest.subject is not None  # noqa: PT018
    gradient = latest.detail.tensors[:, 0]
    own = [i for i, tensor in enumerate(latest.subject.tensors) if tensor.fan_in]
    own = [i for i in own if i < len(gradient)]
    return sparkline(np.where(gradient[own] > 0, gradient[own], np.nan), 32)


def _event(event: Event) -> Text:
    style = "red" if event.kind in BAD_EVENTS else "" if event.kind is EventKind.NOTE else "yellow"
    line = Text(no_wrap=True, overflow="ellipsis")
    return line.append(f"{event.step:,} ", "dim").append(
        str(translated(happened(event))).splitlines()[0], style
    )


def _say(message: str) -> None:
    with suppress(OSError, ValueError):  # a closed pipe or stream never ends a training
        print(f"evengrad: {translated(message)}", file=sys.stderr, flush=True)
