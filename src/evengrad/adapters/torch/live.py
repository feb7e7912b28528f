"""Watches every optimizer that the user's own script steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.sessions import Armed, LiveSession
from evengrad.adapters.torch.compat import never_traced, note_compiling
from evengrad.adapters.torch.loop.loop import Loop
from evengrad.adapters.torch.loop.names import name_of
from evengrad.adapters.torch.loop.recurrence import unbounded
from evengrad.adapters.torch.loop.stand_in import follow_foreign
from evengrad.adapters.torch.loop.stepper import Stepper
from evengrad.adapters.torch.measure.update import is_copy
from evengrad.adapters.torch.tap import patches
from evengrad.adapters.torch.tap.hearing import hearing
from evengrad.adapters.torch.tap.lessons import Lessons
from evengrad.adapters.torch.tap.models import find_roots, note_modules
from evengrad.adapters.torch.tap.tap import OptimizerTap
from evengrad.recording.session import Watching
from evengrad.values.fact import Fact, Where
from evengrad.values.run import Subject


def arm(session: LiveSession) -> Armed:
    """From now on: each optimizer is tapped when it is made."""
    optimizers = _Optimizers(session)
    return Armed(disarm=optimizers.disarm, flush=lambda: None)


class _Optimizers:
    """Those that the script has made, with their taps."""

    def __init__(self, session: LiveSession) -> None:
        self.session = session
        self.taps = WeakValueDictionary[int, OptimizerTap]()  # end with their optimizers
        self.begun: list[OptimizerTap] = []
        self.seen: list[tuple[Any, Fact]] = []
        self._idle_names: dict[int, tuple[str, str]] = {}
        self.patches = Patches()
        note_modules(self.patches)
        note_compiling(self.patches, lambda: hearing().deafen())
        self.loop = Loop(self._seen, session.trouble, self._wiped, self._pieces)
        hook = register_optimizer_step_pre_hook(
            never_traced(lambda optimizer, *_: self._tap(optimizer))
        )
        self.patches.on_undo(hook.remove)
        self.lessons = Lessons(self.patches)
        after = register_optimizer_step_post_hook(never_traced(self._stepped))
        self.patches.on_undo(after.remove)
        self.patches.wrap(torch.optim.Optimizer, "__init__", self._init)
        follow_foreign(self.patches)

    def disarm(self) -> None:
        """Take everything off."""
        self.loop.end()
        self._rest()
        for tap in self.begun:
            if tap.watching is not None:
                tap.watching.scheduled(*self.loop.schedule(tap.optimizer))
        self.patches.undo()
        self.lessons.close()
        for tap in list(self.taps.values()):
            patches.discard(tap)
            tap.remove()

    def _init(self, original: Callable[..., None]) -> Callable[..., None]:
        def init(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            self._tap(optimizer)
            self.loop.made(optimizer)

        return init

    def _tap(self, optimizer: torch.optim.Optimizer) -> None:
        """When it is made, its models exist; when it is a copy, it is met at its first step."""
        if id(optimizer) in self.taps or self.session.closed or is_copy(optimizer):
            return
        session = self.session
        try:
            roots = find_roots([p for group in optimizer.param_groups for p in group["params"]])
            begin = partial(self._begin, id(optimizer))
            tap = OptimizerTap(optimizer, roots, session.settings, begin, session.script)
            self.taps[id(optimizer)] = tap
            patches.add(tap)
            self.lessons.open(tap)
        except Exception as error:
            session.trouble(error)

    def _stepped(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self.lessons.stepped(self.taps.get(id(optimizer)))

    def _begin(self, key: int, subject: Subject) -> Watching:
        """An optimizer steps: its tap is kept to the end, whatever becomes of the optimizer."""
        tap = self.taps[key]
        self.begun.append(tap)
        self.loop.begins(tap.optimizer)
        watching = self.session.watching(self._named(tap, subject))
        loose = unbounded(tap.training.roots)
        if loose is not None:
            watching.fact(loose)
        waiting, self.seen = self.seen, []
        for optimizer, fact in waiting:
            if optimizer is None or optimizer is tap.optimizer:
                watching.fact(fact)
            else:
                self.seen.append((optimizer, fact))
        return watching

    def _named(self, tap: OptimizerTap, subject: Subject) -> Subject:
        """With the user's variables, where there are several optimizers."""
        if len(self.taps) < 2:
            return subject
        if id(tap) in self._idle_names:
            idle, optimizer = self._idle_names[id(tap)]
            return replace(subject, model=idle or subject.model, optimizer=optimizer)
        models = [_called(root) for root in tap.training.roots] or [subject.model]
        return replace(subject, model=", ".join(models), optimizer=_called(tap.optimizer))

    def _wiped(self, known: list[Stepper]) -> None:
        """Gradients were set to zero that were made for another one's step."""
        patches.wiped([one.optimizer for one in known])

    def _pieces(self, optimizer: Any, count: int) -> None:
        """So many losses of one line to a step, each a mean: their mean is what the run shows."""
        tap = self.taps.get(id(optimizer))
        if tap is not None:
            tap.training.pieces = count

    def _seen(
        self, one: Stepper | None, kind: str, place: Where | None, values: dict[str, Any]
    ) -> None:
        """A fact of the loop goes into the run that it is about."""
        optimizer = None if one is None else one.optimizer
        tap = self.taps.get(id(optimizer))
        fact = Fact(kind, place, 0 if tap is None else tap.training.step, values)
        if kind == "never_stepped" and tap is not None and tap.watching is None:
            self._begin_idle(tap, values)
        if kind == "accumulation_undivided":
            if tap is not None and tap.watching is not None:
                tap.watching.suspect(fact)
            return
        self._tell(optimizer, fact)

    def _tell(self, optimizer: Any, fact: Fact) -> None:
        """An optimizer that has not stepped may have a run of its own yet."""
        own = [tap.watching for tap in self.begun if tap.optimizer is optimizer]
        own = own or [tap.watching for tap in self.begun[:1] if optimizer is None]
        told = [watching for watching in own if watching is not None]
        if told:
            told[-1].fact(fact)
        else:
            self.seen.append((optimizer, fact))

    def _begin_idle(self, tap: OptimizerTap, values: dict[str, Any]) -> None:
        """A run of no step, for what is to be said of it, by the names that its passes saw."""
        name, kind = values["optimizer"], type(tap.optimizer).__name__
        models = ", ".join(_both(*one) for one in values["models"])
        self._idle_names[id(tap)] = (models, kind if name == kind else f"{name} ({kind})")
        try:
            tap.start()
        except Exception as error:
            self.session.trouble(error)

    def _rest(self) -> None:
        """What is about no run goes into the script's first one."""
        first = [tap.watching for tap in self.begun[:1] if tap.watching is not None]
        for watching in first:
            for _, fact in self.seen:
                watching.fact(fact)


def _called(value: Any) -> str:
    return _both(name_of(value), type(value).__name__)


def _both(name: str | None, kind: str) -> str:
    return kind if name is None else f"{name} ({kind})"
