"""Follows a script's training loop through its first steps, and reports the mistakes that it sees there."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.utils import clip_grad
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.overrides import has_torch_function

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.torch.compat import as_list, holders, never_traced
from evengrad.adapters.torch.loop.accumulated import Accumulating
from evengrad.adapters.torch.loop.clipped import Clipping
from evengrad.adapters.torch.loop.copies import Copies
from evengrad.adapters.torch.loop.derivatives import Derivatives
from evengrad.adapters.torch.loop.held import Holding
from evengrad.adapters.torch.loop.kept import Zeroing
from evengrad.adapters.torch.loop.reached import Reaching
from evengrad.adapters.torch.loop.scaled import ScaledLoss
from evengrad.adapters.torch.loop.schedules import Schedules
from evengrad.adapters.torch.loop.stepper import Report, Stepper, Watcher
from evengrad.adapters.torch.loop.unstepped import Unstepped
from evengrad.adapters.torch.measure.update import is_copy
from evengrad.adapters.torch.tap.models import stamp
from evengrad.values.fact import Where

_FIRST = 10
"""Steps of each optimizer that are looked at; after that nothing is patched, and nothing costs."""


class Loop:
    """What is patched while the first steps are made. Changes no value.

    Attributes:
        pieces: undivided losses of one line in the gradients of the only step that was looked at.
        piece: that line.

    Args:
        report: takes what was seen.
        trouble: takes an error of our own; the loop is then followed no more.
        wiped: told of optimizers whose gradients were set to zero.
        pieces: told of an optimizer, and how many undivided losses of one line are in its gradients.
    """

    def __init__(
        self,
        report: Report,
        trouble: Callable[[Exception], object],
        wiped: Callable[[list[Stepper]], object] = lambda _: None,
        pieces: Callable[[Any, int], object] = lambda *_: None,
    ) -> None:
        self.pieces = 1
        self.piece: Where | None = None
        self._trouble = trouble
        self._wiped = wiped
        self._known: dict[int, Stepper] = {}
        self._zeroing = Zeroing(report)
        self._scaling = ScaledLoss(report)
        self._holding = Holding(report)
        self._reaching = Reaching(report, self._holding.meant)
        self._schedules = Schedules()
        self._clipping = Clipping(report)
        self._accumulating = Accumulating(report, pieces)
        self._unstepped = Unstepped(report)
        self._derivatives = Derivatives(report)
        self._copies = Copies(report)
        self._watchers: tuple[Watcher, ...] = (
            self._zeroing,
            self._scaling,
            self._holding,
            self._reaching,
            self._accumulating,
            self._clipping,
            self._unstepped,
            self._copies,
        )
        self._patches = Patches()
        self._always = Patches()  # between two trainings, too
        self._always.wrap(torch.nn.Module, "load_state_dict", self._load)
        self._always.wrap(torch.nn.Module, "__setstate__", self._restore)
        self._on = False
        self._broken = False
        self._inside = False
        self._hooks: list[Any] = []
        self._in_hook = False
        self._resume()

    def made(self, optimizer: Any) -> None:
        """One more optimizer. Called on the user's line."""
        with _Safe(self):
            self._know(optimizer)
            self._resume()

    def begins(self, optimizer: Any) -> None:
        """It makes its first step: look again, if its steps are the first ones of a later training."""
        with _Safe(self):
            self._unstepped.begun(optimizer)
            self._know(optimizer)
            self._resume()

    def only_step(self, optimizer: Any) -> None:
        """Before the one step that is looked at: judge by it alone, and take everything off."""
        with _Safe(self):
            one = self._know(optimizer)
            one.look_up()
            one.steps = 1
            if self._zeroing.empties(one):
                self._zeroing.tell_emptied(one)
            self._holding.stepped(one, self._living())
            self._reaching.only(one)
            self._clipping.only(one)
            self._scaling.step_begins(one)
        self.count(optimizer)
        self.end()

    def count(self, optimizer: Any) -> None:
        """Before a step: the losses that are in its gradients."""
        with _Safe(self):
            one = self._know(optimizer)
            self.pieces = self._accumulating.count(one)
            self.piece = self._accumulating.last(one)

    def schedule(self, optimizer: Any) -> tuple[Where | None, dict[str, Any]]:
        """What changes its learning rate; see ``Schedules.of``."""
        known = self._known.get(id(optimizer))
        return self._schedules.of(optimizer, 0 if known is None else known.steps)

    def end(self) -> None:
        """The script is over, or what is looked at of it: judge, and take everything off."""
        with _Safe(self):
            if not self._broken:
                known = list(self._known.values())
                for watcher in self._watchers:
                    watcher.ended(known)
        self.close()

    def close(self) -> None:
        """Take everything off."""
        self.off()
        self._always.undo()

    def break_off(self, error: Exception) -> None:
        """Something of ours went wrong."""
        self._broken = True
        self.off()
        self._trouble(error)

    def off(self) -> None:
        """Take every patch off; not the hooks where one of them is being called: torch goes through all of
        them then, ours and others'.
        """
        self._on = False
        self._reaching.close()
        self._patches.undo()
        while self._hooks and not self._in_hook:
            self._hooks.pop().remove()

    def _hooked(self, call: Callable[[Any], None]) -> Callable[..., None]:
        def hook(optimizer: Any, *_: Any) -> None:
            if self._on and not is_copy(optimizer):
                self._in_hook = True
                try:
                    call(optimizer)
                finally:
                    self._in_hook = False

        return never_traced(hook)

    def _step_begins(self, optimizer: Any) -> None:
        with _Safe(self):
            one = self._know(optimizer)
            one.look_up()
            for watcher in self._watchers:
                watcher.step_begins(one)

    # --- inside ----------------------------------------------------------------------------------

    def _know(self, optimizer: Any) -> Stepper:
        key = id(optimizer)
        if key not in self._known or self._known[key].optimizer is not optimizer:
            one = self._known[key] = Stepper(optimizer, stamp())
            one.look_up()
            for watcher in self._watchers:
                watcher.made(one)
        return self._known[key]

    def _living(self) -> list[Stepper]:
        return [one for one in self._known.values() if one.optimizer is not None]

    def _resume(self) -> None:
        if self._on or self._broken:
            return
        self._on = True
        wrap = self._patches.wrap
        wrap(torch.Tensor, "backward", self._backward)
        wrap(torch.autograd, "backward", self._several)
        wrap(torch.autograd, "grad", self._derivative)
        wrap(torch.optim.Optimizer, "zero_grad", self._zero)
        wrap(torch.nn.Module, "zero_grad", self._zero)
        wrap(torch.nn.Module, "__setattr__", self._replace)
        wrap(torch.amp.GradScaler, "scale", self._scale)
        wrap(torch.amp.GradScaler, "unscale_", self._unscale)
        wrap(torch.amp.GradScaler, "step", self._scaler_step)
        for function in (clip_grad.clip_grad_norm_, clip_grad.clip_grad_value_):
            for place, name in holders(function):
                wrap(place, name, self._clip)
        self._schedules.patch(self._patches)
        if not self._hooks:
            self._hooks = [
                register_optimizer_step_pre_hook(self._hooked(self._step_begins)),
                register_optimizer_step_post_hook(self._hooked(self._stepped)),
            ]

    def _around(self, loss: Any, call: Callable[[], Any]) -> Any:
        """A backward pass."""
        if self._inside:
            return call()
        self._inside = True
        try:
            with _Safe(self):
                for watcher in self._watchers:
                    watcher.backward_begins(loss, self._living())
            result = call()
        finally:
            self._inside = False
        with _Safe(self):
            for watcher in self._watchers:
                watcher.backward_ended(loss, self._living())
        return result

    def _backward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def backward(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            if has_torch_function((tensor,)):  # it comes here once more, behind what has one
                return original(tensor, *args, **kwargs)
            return self._around(tensor, lambda: original(tensor, *args, **kwargs))

        return backward

    def _several(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            several = isinstance(tensors, tuple | list)
            loss = tensors[0] if several and len(tensors) else tensors
            return self._around(loss, lambda: original(tensors, *args, **kwargs))

        return backward

    def _derivative(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def grad(outputs: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(outputs, *args, **kwargs)
            if kwargs.get("create_graph"):
                with _Safe(self):
                    self._derivatives.taken(outputs, result)
            return result

        return grad

    def _zero(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def zero_grad(owner: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(owner, *args, **kwargs)
            with _Safe(self):
                whose = [one for one in self._living() if _touches(owner, one)]
                for watcher in self._watchers:
                    watcher.zeroed(whose)
                self._wiped(whose)
            return result

        return zero_grad

    def _load(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def load_state_dict(module: Any, *args: Any, **kwargs: Any) -> Any:
            with _Safe(self):
                self._holding.loads(module)
            return original(module, *args, **kwargs)

        return load_state_dict

    def _restore(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """What is copied or unpickled has its weights from there."""

        def setstate(module: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(module, *args, **kwargs)
            with _Safe(self):
                self._holding.loads(module)
                self._holding.copies(module)
                self._copies.copied(module)
            return result

        return setstate

    def _replace(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def setattr_(owner: Any, name: str, value: Any) -> None:
            if isinstance(value, torch.nn.Module):
                with _Safe(self):
                    children = dict(owner.named_children()) if hasattr(owner, "training") else {}
                    if children.get(name, value) is not value:
                        self._holding.replaces(name, value)
            original(owner, name, value)

        return setattr_

    def _scale(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def scale(scaler: Any, outputs: Any) -> Any:
            result = original(scaler, outputs)
            with _Safe(self):
                self._scaling.scales(scaler, result)
                self._accumulating.scales(result)
            return result

        return scale

    def _unscale(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def unscale_(scaler: Any, optimizer: Any) -> Any:
            with _Safe(self):
                self._scaling.unscales(optimizer)
            return original(scaler, optimizer)

        return unscale_

    def _scaler_step(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def step(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            with _Safe(self):
                one = self._know(optimizer)
                self._unstepped.begun(optimizer)
                self._scaling.scaler_steps(scaler, one)
            result = original(scaler, optimizer, *args, **kwargs)
            with _Safe(self):
                self._scaling.over(one)
            return result

        return step

    def _clip(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def clip(parameters: Any, *args: Any, **kwargs: Any) -> Any:
            given = as_list(parameters)
            with _Safe(self):
                bound = args[0] if args else kwargs.get("max_norm", kwargs.get("clip_value"))
                self._scaling.clips(given, None if bound is None else float(bound), self._living())
            norm = original(given, *args, **kwargs)
            with _Safe(self):
                own = {id(p) for p in given}
                for one in self._living():
                    held = [p for p in one.parameters if id(p) in own]
                    if held and bound is not None and not self._scaling.scaled(one):
                        self._clipping.clipped(held, float(bound), norm, one)
            return norm

        return clip

    def _stepped(self, optimizer: Any) -> None:
        with _Safe(self):
            one = self._know(optimizer)
            one.steps += 1
            for watcher in self._watchers:
                watcher.stepped(one, self._living())
            if all(other.steps >= _FIRST for other in self._living() if other.steps):
                self.off()


class _Safe:
    """What goes wrong inside is ours: said once, and the loop is followed no more."""

    def __init__(self, loop: Loop) -> None:
        self._loop = weakref.ref(loop)

    def __enter__(self) -> None:
        """Nothing to begin."""

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        loop = self._loop()
        if error is None or not isinstance(error, Exception) or loop is None:
            return False
        loop.break_off(error)
        return True


def _touches(owner: Any, one: Stepper) -> bool:
    """Whether an optimizer or module is that optimizer, or holds parameters of it."""
    if isinstance(owner, torch.optim.Optimizer):
        return owner is one.optimizer
    own = {id(p) for p in owner.parameters()}
    return any(id(p) in own for p in one.parameters)
