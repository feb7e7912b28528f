"""Optimizers that are none of torch's, fastai's own: each has a stand-in that is one, so that its steps call
torch's hooks, and whoever knows torch's optimizers knows it.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import Any

import torch
import wrapt

from evengrad.adapters.common.patching import Patches
from evengrad.recording import failure

_MODULE = "fastai.optimizer"
_NAMES = {
    "adam_step": "Adam",
    "sgd_step": "SGD",
    "momentum_step": "SGD",
    "rms_prop_step": "RMSProp",
}
_known: weakref.WeakKeyDictionary[Any, ForeignOptimizer] = weakref.WeakKeyDictionary()
_stepping: list[Any] = []


class ForeignOptimizer(torch.optim.Optimizer):
    """Has the parameters, the settings and the state of another one, whose step is its own.

    Args:
        foreign: with ``param_groups``, ``hypers``, ``state``, ``state_dict`` and ``load_state_dict``.
        step: makes its step.
    """

    def __init__(self, foreign: Any, step: Callable[[Any], Any]) -> None:
        groups = [{**group, "params": list(group["params"])} for group in foreign.param_groups]
        super().__init__(groups, {})
        self._ref, self._foreign_step = weakref.ref(foreign), step
        self.state = foreign.state
        self._rates = [group.get("lr") for group in self.param_groups]

    @property
    def foreign(self) -> Any:
        """The other one, which holds this one and is not held by it."""
        return self._ref()

    def refresh(self) -> None:
        """Its settings of now; a learning rate that was written here goes there."""
        self.state = self.foreign.state
        for place, (group, hyper) in enumerate(
            zip(self.param_groups, self.foreign.hypers, strict=True)
        ):
            if group.get("lr") != self._rates[place]:
                hyper["lr"] = group["lr"]
            group.update(hyper)
            self._rates[place] = group.get("lr")

    def step(self, _closure: Any = None) -> Any:
        """See Optimizer; fastai's take no closure."""
        _stepping.append(self.foreign)
        try:
            return self._foreign_step(self.foreign)
        finally:
            _stepping.pop()
            self.state = self.foreign.state

    def state_dict(self) -> Any:
        """See Optimizer."""
        return self.foreign.state_dict()

    def load_state_dict(self, state_dict: Any) -> None:
        """See Optimizer."""
        self.foreign.load_state_dict(state_dict)
        self.state = self.foreign.state

    def __deepcopy__(self, memo: dict[int, Any]) -> ForeignOptimizer:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin._kept = copy.deepcopy(self.foreign, memo)  # nobody else holds it
        twin._ref = weakref.ref(twin._kept)
        twin._foreign_step = self._foreign_step
        twin._rates = list(self._rates)
        groups = copy.deepcopy(self.param_groups, memo)
        twin.__setstate__({"defaults": {}, "state": twin.foreign.state, "param_groups": groups})
        return twin


def follow_foreign(patches: Patches) -> None:
    """Until the patches are undone, steps of fastai's optimizers are seen."""
    over: list[bool] = []
    patches.on_undo(lambda: over.append(True))

    def imported(module: Any) -> None:
        if not over:
            patches.wrap(module.Optimizer, "__init__", _init)
            patches.wrap(module.Optimizer, "step", _step)

    wrapt.register_post_import_hook(imported, _MODULE)


def _init(original: Callable[..., None]) -> Callable[..., None]:
    def init(foreign: Any, *args: Any, **kwargs: Any) -> None:
        original(foreign, *args, **kwargs)
        _stand_in(foreign)

    return init


def _step(original: Callable[..., Any]) -> Callable[..., Any]:
    def step(foreign: Any, *args: Any, **kwargs: Any) -> Any:
        if any(foreign is one for one in _stepping):
            return original(foreign, *args, **kwargs)
        stand_in = _stand_in(foreign)
        if stand_in is None or args or kwargs:
            return original(foreign, *args, **kwargs)
        return stand_in.step()

    return step


def _stand_in(foreign: Any) -> ForeignOptimizer | None:
    """None, and the training goes on unseen, where it cannot be made."""
    try:
        found = _known.get(foreign)
        if found is None:
            names = [getattr(cb, "__name__", "") for cb in foreign.cbs]
            name = next((_NAMES[n] for n in reversed(names) if n in _NAMES), "Optimizer")
            kind = type(f"{name} of fastai", (ForeignOptimizer,), {})
            found = _known[foreign] = kind(foreign, type(foreign).step)
        found.refresh()
    except Exception as error:
        failure.tell(error)
        return None
    return found
