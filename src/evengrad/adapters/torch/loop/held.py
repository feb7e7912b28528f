"""Weights that the loss depends on and that no optimizer of the script holds."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch

from evengrad.adapters.common.source import where
from evengrad.adapters.torch.loop.names import name_of
from evengrad.adapters.torch.loop.stepper import (
    Report,
    Stepper,
    Watcher,
    beginning,
    gradients,
    sharded,
)
from evengrad.adapters.torch.tap.models import made_modules, stamp, stamp_of
from evengrad.values.fact import Where


class _Loose:
    """A parameter with a gradient that nobody holds, kept alive: a later optimizer may take it."""

    def __init__(self, parameter: Any, by: Stepper) -> None:
        self.parameter = parameter
        self.by = by  # whose loss reached it
        self._values = beginning(parameter)
        self._gradient = beginning(parameter.grad)
        self._seen = 0
        self._renewed = False

    def see(self, parameter: Any) -> None:
        """Once more, at a step."""
        gradient = beginning(parameter.grad)
        self._renewed |= self._seen > 0 and not torch.equal(gradient, self._gradient)
        self._gradient = gradient
        self._seen += 1

    @property
    def counts(self) -> bool:
        """Whether backward passes go on to reach it and nobody moves it."""
        if not (self._renewed or self._seen == 1):
            return False
        return torch.equal(beginning(self.parameter), self._values)


class Holding(Watcher):
    """Looks, at each step, for parameters of modules that have a gradient and no optimizer."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._ever: dict[int, weakref.ref[Any]] = {}  # held by any optimizer, now or before
        self._loose: dict[int, _Loose] = {}
        self._reached: dict[int, weakref.ref[Any]] = {}  # had a gradient at some step
        self._loaded = weakref.WeakSet[Any]()
        self._copied = weakref.WeakSet[Any]()
        self._replaced: dict[int, tuple[weakref.ref[Any], str, Where | None]] = {}
        self._told = False
        self._verdict: tuple[Stepper, list[Any], dict[str, Any]] | None = None
        self._since = stamp()

    def made(self, one: Stepper) -> None:
        """Its parameters are held for good."""
        self._hold(one)

    def loads(self, module: Any) -> None:
        """Weights were loaded into it: they need not be trained."""
        self._loaded.update(module.modules())

    def copies(self, module: Any) -> None:
        """It was copied from another one, or unpickled."""
        self._copied.add(module)

    def replaces(self, name: str, module: Any) -> None:
        """A layer was put where another one was."""
        self._replaced[id(module)] = weakref.ref(module), name, where()

    def stepped(self, one: Stepper, known: Sequence[Stepper]) -> None:
        """Note who has a gradient."""
        for other in known:
            self._hold(other)
        if sharded(one.parameters):
            return
        for module in self._modules():
            for parameter in list(module.parameters(recurse=False)):
                if parameter.grad is None or not parameter.requires_grad:
                    continue
                self._reached[id(parameter)] = weakref.ref(parameter)
                if not self._is_held(parameter):
                    loose = self._loose.setdefault(id(parameter), _Loose(parameter, one))
                    loose.see(parameter)
        if found := self._left():
            self._judge(found, [other for other in known if other.steps])

    def ended(self, known: Sequence[Stepper]) -> None:
        """What is still loose now no later optimizer has taken."""
        for one in known:
            self._hold(one)
        if self._verdict is not None and not self._told:
            one, parameters, values = self._verdict
            left = {id(p) for p in self._left()}
            if all(id(p) in left for p in parameters):
                self._told = True
                self.report(one, "weights_unheld", one.made, values)

    # --- inside ----------------------------------------------------------------------------------

    def _hold(self, one: Stepper) -> None:
        for parameter in one.parameters:
            if id(parameter) not in self._ever:
                self._ever[id(parameter)] = weakref.ref(parameter)

    def _is_held(self, parameter: Any) -> bool:
        ref = self._ever.get(id(parameter))
        return ref is not None and ref() is parameter

    def _modules(self) -> list[Any]:
        return [module for module in made_modules() if stamp_of(module) > self._since]

    def _left(self) -> list[Any]:
        own = [loose.parameter for loose in self._loose.values() if loose.counts]
        sizes = gradients(own)
        return [p for p in own if not self._is_held(p) and sizes.get(id(p), 0.0) > 0]

    def _judge(self, loose: list[Any], steps: Sequence[Stepper]) -> None:
        places = _places(self._modules())
        fresh = [p for p in loose if not self._meant(p, places)]
        idle = [p for o in steps for p in o.parameters if id(p) not in self._reached]
        orphans = [p for p in idle if p.requires_grad and not _called_for(p, places)]
        used = [p for o in steps for p in o.parameters if id(p) in self._reached]
        none = not used
        if none or orphans:
            fresh = loose
        if not fresh:
            return
        how = self._how(fresh, places, orphans, none, steps)
        if how is None:
            return
        one = self._loose[id(fresh[0])].by if not orphans and not none else steps[0]
        layers = list(dict.fromkeys(places[id(p)][1] for p in fresh if id(p) in places))
        replaced, line = self._line(fresh, places)
        total = sum(p.numel() for p in {id(q): q for q in [*loose, *used]}.values())
        values = {
            "how": how,
            "optimizer": one.name,
            "made": str(one.made or ""),
            "layers": layers[:8],
            "tensors": len(fresh),
            "weights": sum(p.numel() for p in fresh),
            "share": sum(p.numel() for p in fresh) / max(total, 1),
            "none": none,
            "replaced": replaced,
            "replaced_at": str(line or ""),
        }
        self._verdict = one, fresh, values

    def _meant(self, parameter: Any, places: dict[int, tuple[Any, str, Any]]) -> bool:
        """Loaded, or out of training: nobody means to train it."""
        place = places.get(id(parameter))
        if place is None:
            return True
        return self.meant(place[0]) or bool(getattr(place[2], "name_or_path", ""))

    def meant(self, module: Any) -> bool:
        """Whether a module was loaded, or is out of training."""
        return module in self._loaded or not module.training

    def _how(
        self,
        fresh: list[Any],
        places: dict[int, tuple[Any, str, Any]],
        orphans: list[Any],
        none: bool,
        steps: Sequence[Stepper],
    ) -> str | None:
        modules = [places[id(p)][0] for p in fresh if id(p) in places]
        if none and modules and all(module in self._copied for module in modules):
            return "copies"
        if orphans:
            return "replaced"
        if modules and all(stamp_of(m) >= max(o.stamp for o in steps) for m in modules):
            return "later"
        if none:
            return "none"
        roots = {id(places[id(p)][2]) for p in fresh if id(p) in places}
        held = {id(places[id(p)][2]) for o in steps for p in o.parameters if id(p) in places}
        if not roots & held:
            return "apart"
        return "part" if any(p.ndim >= 2 for p in fresh) else None

    def _line(
        self, fresh: list[Any], places: dict[int, tuple[Any, str, Any]]
    ) -> tuple[str, Where | None]:
        for parameter in fresh:
            place = places.get(id(parameter))
            for ref, name, line in self._replaced.values():
                module = ref()
                if place and module is not None and any(m is place[0] for m in module.modules()):
                    return name, line
        return "", None


def _places(modules: list[Any]) -> dict[int, tuple[Any, str, Any]]:
    """Parameter id -> its module, its layer's path in the user's names, and its outermost module."""
    inner = {id(child) for m in modules for child in m.children()}
    roots = [m for m in modules if id(m) not in inner]
    found: dict[int, tuple[Any, str, Any]] = {}
    for root in roots:
        before = (name_of(root) or type(root).__name__) if len(roots) > 1 else ""
        for path, module in root.named_modules():
            for parameter in module.parameters(recurse=False):
                layer = ".".join(part for part in (before, path) if part) or type(root).__name__
                found.setdefault(id(parameter), (module, layer, root))
    return found


def _called_for(parameter: Any, places: dict[int, tuple[Any, str, Any]]) -> bool:
    """Whether it is part of a model whose other weights have gradients: then it is only not used yet."""
    place = places.get(id(parameter))
    if place is None:
        return False
    return any(p.grad is not None for p in place[2].parameters())
