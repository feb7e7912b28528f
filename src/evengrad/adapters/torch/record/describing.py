"""Records a forward pass on ``meta``: shapes without values, and laws instead of figures."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import nn

from evengrad.adapters.torch.compat import tree_leaves
from evengrad.adapters.torch.laws.constants import Constants
from evengrad.adapters.torch.laws.laws import heard, measured
from evengrad.adapters.torch.laws.stand_ins import StandIns
from evengrad.adapters.torch.ops.calls import ASKED, CREATORS
from evengrad.adapters.torch.ops.kinds import in_place, kind_of
from evengrad.adapters.torch.record.graph import RecordedCall
from evengrad.adapters.torch.record.record import Recorder
from evengrad.values.spec import Kind, Law
from evengrad.values.summary import nothing

_COINS = ("rand_like", "randn_like", "new_empty", "empty_like", "bernoulli")


class DescribingRecorder(Recorder):
    """laws: by id of a parameter. reals: of tensors on ``meta``, the same with values, where there are any."""

    def __init__(self) -> None:
        super().__init__(describing=True)
        self.laws: dict[int, Law] = {}
        self.constants = Constants()
        self.reals = self.constants.values
        self._real_result: Any = None
        self._stand_ins = StandIns(self.reals, self.law_of)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What is made is made on ``meta``; questions for values are answered where there are any."""
        kwargs = kwargs or {}
        if func in CREATORS and kwargs.get("device") is None:
            kwargs["device"] = torch.device("meta")
        if getattr(func, "__name__", "") in ASKED and args[0] in self.reals:
            return func(self.reals[args[0]], *args[1:], **kwargs)
        return super().__torch_function__(func, types, args, kwargs)

    def call(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """One call; under ``no_grad``, too, where positions are often made."""
        if not self.idle or self._paused:
            return super().call(func, name, args, kwargs)
        result = func(*args, **kwargs)
        leaves = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        if self.modules.stack and all(self._constant(t) for t in leaves):
            with self.paused(), suppress(Exception):
                self._keep_constant(func, name, args, kwargs, result)
        return result

    def law_of(self, tensor: Any) -> Law:
        """Of a weight or constant. A weight on its way (transposed) has the law of the weight."""
        if not tensor.is_meta:
            return super().law_of(tensor)
        own = isinstance(tensor, nn.Parameter)
        origin = tensor if own else self._moved.get(tensor, tensor)
        if not own and tensor in self.reals and not self._stand_ins.drew(tensor):
            return measured(self.reals[tensor])
        known = self.laws.get(id(origin)) or heard(origin) or self.constants.law(tensor)
        if known is None and tensor in self._derived:
            first = next(iter(self._derived[tensor].values()))
            known = self.laws.get(id(first)) or heard(first)
            self.guessed[id(first)] = first
        return known or Law(0.0, 1.0, "unknown")

    def _values(self, tensor: Any) -> Any:
        return self.reals.get(tensor) if tensor.is_meta else tensor

    def _read(self, node: RecordedCall, outputs: list[Any]) -> None:
        node.forward = nothing(tuple(outputs[0].shape))

    def _made_like(self, node: RecordedCall, results: list[Any]) -> None:
        """No gradient comes through: a mask of an activation, or coins in its shape (rand_like)."""
        if node.call_made is None:
            return
        name, func, _args, kwargs = node.call_made
        node.call_made = None
        if name in _COINS:
            self._keep_constant(func, name, (), kwargs, results)

    def _derive_real(self, func: Any, name: str, args: Any, kwargs: Any) -> None:
        """The same of the weights' values, where they have any."""
        self._real_result = None
        if in_place(name, kwargs) or "out" in kwargs:
            return
        leaves = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        again = self.constants.made_again
        moves = kind_of(name, weighted=True, inputs=0) is Kind.RESHAPE
        if all(t in self.reals and not self._stand_ins.drew(t) for t in leaves) or (
            not moves and all(self._stand_ins.provide(t, again) for t in leaves)
        ):
            self._real_result = again(func, args, kwargs)

    def _derive(
        self, call: tuple[Any, Any, Any], name: str, parameters: list[Any], result: Any
    ) -> Any:
        moved = kind_of(name, weighted=True, inputs=0) is Kind.RESHAPE and len(parameters) == 1
        if self._real_result is not None:
            values = tree_leaves(self._real_result)
            self.reals.update(zip(tree_leaves(result), values, strict=True))
            self._real_result = None
        elif not moved and len(parameters) == 1:
            _, args, kwargs = call
            self.constants.follow(name, self.law_of(parameters[0]), args, kwargs, result)
        super()._derive(call, name, parameters, result)
        if moved and isinstance(result, torch.Tensor) and result in self._moved:
            self._stand_ins.moved(result, call)
        return result

    def _keep_constant(self, func: Any, name: str, args: Any, kwargs: Any, result: Any) -> Any:
        super()._keep_constant(func, name, args, kwargs, result)
        self.constants.note(func, name, args, kwargs, result)
        return result
