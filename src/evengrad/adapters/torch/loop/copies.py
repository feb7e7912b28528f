"""Copies of what is trained that follow it, an average of its weights as they are, by hardly any of its way."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evengrad.adapters.torch.loop.names import name_of
from evengrad.adapters.torch.loop.stepper import Report, Stepper, Watcher, beginning, sharded
from evengrad.adapters.torch.tap.models import find_roots

_SHARE = 0.1
_MOST = 1024  # copied modules that are remembered
_PAIRS = 4


@dataclass
class _Following:
    """A model and its copy, kept alive: the script's function may be over at the end."""

    one: Stepper
    optimizer: Any
    root: Any
    copy: Any
    then: dict[str, Any]
    names: tuple[str, str]


class Copies(Watcher):
    """Keeps samples of the weights of each copied module, as they were then."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self._copied: dict[int, tuple[weakref.ref[Any], dict[str, Any]]] = {}
        self._pairs: list[_Following] = []

    def copied(self, module: Any) -> None:
        """It has its weights from elsewhere."""
        if len(self._copied) < _MOST:
            own = {n: beginning(p) for n, p in module.named_parameters() if p.device.type != "meta"}
            if own:
                self._copied[id(module)] = weakref.ref(module), own

    def stepped(self, one: Stepper, _known: Sequence[Stepper]) -> None:
        """Who is a copy of what takes its first step."""
        if one.steps > 1 or not self._copied or sharded(one.parameters):
            return
        held = {id(p) for p in one.parameters}
        for root in find_roots(one.parameters):
            names = [name for name, _ in root.named_parameters()]
            for ref, then in self._copied.values():
                copy = ref()
                if copy is None or copy is root or type(copy) is not type(root):
                    continue
                own = dict(copy.named_parameters())
                if list(own) != names or any(id(p) in held for p in own.values()):
                    continue
                if len(self._pairs) < _PAIRS:
                    model = name_of(root) or type(root).__name__
                    called = name_of(copy) or f"a copy of {model}"
                    pair = _Following(one, one.optimizer, root, copy, then, (called, model))
                    self._pairs.append(pair)

    def ended(self, known: Sequence[Stepper]) -> None:
        """Those that were moved since, and have come by a tenth of what they are a copy of."""
        for pair in self._pairs:
            if pair.one not in known or pair.copy.training:
                continue
            trained = {n: p for n, p in pair.root.named_parameters() if p.requires_grad}
            moved = _distance(dict(pair.copy.named_parameters()), pair.then, trained)
            way = _distance(trained, pair.then, trained)
            if 0 < moved < _SHARE * way:
                copy, model = pair.names
                values = {"copy": copy, "model": model, "share": moved / way}
                self.report(pair.one, "copy_behind", None, values)
        self._pairs.clear()


def _distance(now: dict[str, Any], then: dict[str, Any], names: dict[str, Any]) -> float:
    total = 0.0
    for name, trained in names.items():
        if name in then and now[name].shape == trained.shape:
            total += float(
                (beginning(now[name]) - then[name].to(now[name].device)).double().square().sum()
            )
    return total**0.5
