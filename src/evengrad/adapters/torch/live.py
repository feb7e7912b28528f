"""Watches every optimizer that the user's own script steps."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from evengrad.adapters.common.sessions import Armed, LiveSession
from evengrad.adapters.torch.tap import patches
from evengrad.adapters.torch.tap.capture import find_roots
from evengrad.adapters.torch.tap.tap import Tap


def arm(session: LiveSession) -> Armed:
    """From now on: each optimizer is tapped when it is made."""
    live = _Live(session)
    return Armed(disarm=live.disarm, flush=lambda: None)


class _Live:
    def __init__(self, session: LiveSession) -> None:
        self.session = session
        self.taps: dict[int, Tap] = {}
        self._hook = register_optimizer_step_pre_hook(lambda o, *_: self._tap(o))
        self._init = torch.optim.Optimizer.__init__
        tap, original = self._tap, self._init

        def init(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            tap(optimizer)

        torch.optim.Optimizer.__init__ = init

    def disarm(self) -> None:
        """Take everything off."""
        self._hook.remove()
        torch.optim.Optimizer.__init__ = self._init
        for tap in self.taps.values():
            patches.discard(tap)
            tap.remove()

    def _tap(self, optimizer: Any) -> None:
        """When it is made, its models exist; when it is a copy, it has been seen by its first step."""
        if id(optimizer) in self.taps or self.session.closed:
            return
        try:
            roots = find_roots([p for group in optimizer.param_groups for p in group["params"]])
            session = self.session
            tap = Tap(optimizer, roots, session.settings, session.watching, session.script)
            self.taps[id(optimizer)] = tap
            patches.add(tap)
        except Exception as error:
            self.session.trouble(error)
