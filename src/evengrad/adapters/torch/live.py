"""Watches every optimizer that the user's own script steps."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from evengrad.adapters import Armed, LiveSession
from evengrad.adapters.torch import patches
from evengrad.adapters.torch.capture import Capture, find_roots
from evengrad.adapters.torch.tap import Tap


def arm(session: LiveSession) -> Armed:
    """From now on: each optimizer is tapped at its first step, its models' calls from its making on."""
    live = _Live(session)
    return Armed(disarm=live.disarm, flush=lambda: None)


class _Live:
    def __init__(self, session: LiveSession) -> None:
        self.session = session
        self.taps: dict[int, Tap] = {}
        self._captures: dict[int, tuple[Any, list[Any], Capture]] = {}
        self._hook = register_optimizer_step_pre_hook(self._first_step)
        self._init = torch.optim.Optimizer.__init__
        made = self._made
        original = self._init

        def init(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            made(optimizer)

        torch.optim.Optimizer.__init__ = init

    def disarm(self) -> None:
        """Take everything off."""
        self._hook.remove()
        torch.optim.Optimizer.__init__ = self._init
        for tap in self.taps.values():
            patches.discard(tap)
            tap.remove()
        for _, _, capture in self._captures.values():
            capture.remove()

    def _made(self, optimizer: Any) -> None:
        """Its models exist by now, so that the first batch is seen."""
        try:
            roots = find_roots(_parameters(optimizer))
            self._captures[id(optimizer)] = optimizer, roots, Capture(roots)
        except Exception as error:
            self.session.trouble(error)

    def _first_step(self, optimizer: Any, _args: Any, _kwargs: Any) -> None:
        if id(optimizer) in self.taps or self.session.closed:
            return
        try:
            _, roots, capture = self._captures.get(id(optimizer), (None, [], None))
            if not roots:
                roots = find_roots(_parameters(optimizer))
            begin = self.session.watching
            script = self.session.script
            tap = Tap(optimizer, roots, self.session.settings, begin, script, capture)
            self.taps[id(optimizer)] = tap
            patches.add(tap)
        except Exception as error:
            self.session.trouble(error)


def _parameters(optimizer: Any) -> list[Any]:
    return [p for group in optimizer.param_groups for p in group["params"]]
