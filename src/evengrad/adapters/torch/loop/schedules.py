"""What changes an optimizer's learning rate, and whether it does so with every step."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.source import where
from evengrad.adapters.torch.loop.names import shown
from evengrad.values.fact import Where


@dataclass
class _Scheduled:
    """Calls of one schedule, with the line of the last one."""

    schedule: Any
    optimizer: Any
    name: str
    kind: str
    calls: int = 0
    place: Where | None = None


class Schedules:
    """Counts how often each is stepped, in the first steps."""

    def __init__(self) -> None:
        self._known: dict[int, _Scheduled] = {}
        self._inside = False

    def patch(self, patches: Patches) -> None:
        """From now on."""
        module = torch.optim.lr_scheduler
        patches.wrap(module.ReduceLROnPlateau, "__init__", self._made)
        kinds = [kind for kind in vars(module).values() if isinstance(kind, type)]
        for kind in kinds:
            if issubclass(kind, module.LRScheduler) and "step" in vars(kind):
                patches.wrap(kind, "step", self._step)

    def of(self, optimizer: Any, steps: int) -> tuple[Where | None, dict[str, Any]]:
        """The schedule, and its line where that is executed with each of so many steps."""
        own = [one for one in self._known.values() if one.optimizer() is optimizer]
        if not own:
            return None, {}
        one = max(own, key=lambda known: known.calls)
        often = steps > 0 and one.calls >= steps - 1
        values: dict[str, Any] = {"scheduler": one.name, "kind": one.kind}
        group = optimizer.param_groups[0] if optimizer is not None else {}
        if "initial_lr" in group:
            values["given"] = float(group["initial_lr"])
        schedule = one.schedule()
        if schedule is not None:
            values["stepped"] = int(getattr(schedule, "last_epoch", 0) or 0)
            if isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
                values |= {name: getattr(schedule, name) for name in ("mode", "patience", "factor")}
        return one.place if often else None, values

    def _made(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """It makes no first step by itself."""

        def init(schedule: Any, *args: Any, **kwargs: Any) -> None:
            original(schedule, *args, **kwargs)
            self._note(schedule, None)

        return init

    def _step(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def step(schedule: Any, *args: Any, **kwargs: Any) -> Any:
            outermost, self._inside = not self._inside, True
            try:
                result = original(schedule, *args, **kwargs)
            finally:
                self._inside = not outermost
            place = where()
            if outermost:
                stepped = place is not None and ".step" in place.code
                self._note(schedule, place if stepped else None)
            return result

        return step

    def _note(self, schedule: Any, place: Where | None) -> None:
        """place: the user's call; None where the schedule makes its first step by itself, when it is made."""
        known = self._known.get(id(schedule))
        if known is None:
            optimizer = weakref.ref(schedule.optimizer)
            known = _Scheduled(
                weakref.ref(schedule), optimizer, shown(schedule), type(schedule).__name__
            )
            self._known[id(schedule)] = known
        if place is not None:
            known.calls += 1
            known.place, known.name = place, shown(schedule)
