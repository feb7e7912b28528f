"""Hears every torch call of the script, also those inside of torch's own functions, from a given step on.

What is not finite is followed as it goes: each tensor knows where what is not finite in it began.
"""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from evengrad.adapters.common.expressions import assigned, name_of
from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.source import spot
from evengrad.adapters.torch.birth import names
from evengrad.adapters.torch.birth.heard import Beginning, HeardCall, HeardTensor, figures
from evengrad.adapters.torch.compat import tensor_table, tree_leaves, version
from evengrad.adapters.torch.ops.kinds import in_place

_CHECKS = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
_FROM_OUTSIDE = ("tensor", "as_tensor", "asarray", "new_tensor")
_UNDEFINED = ("softmax", "log_softmax", "logsumexp", "cross_entropy")


class Listener(TorchFunctionMode):
    """Hears while ``awake``.

    Attributes:
        awake: whether anything is looked at.
        makers: node of a backward pass -> the call that it belongs to.
        roots: the outermost modules with weights that were called.
        batch_high: the largest magnitude in what they were given.
        recent: what was born in the last calls, wherever it went.
        last: the last scalar made of weights that is not finite, outside of all calls.
        trouble: the first error of our own.
    """

    def __init__(self, awake: bool) -> None:
        super().__init__()
        self.awake = awake
        self.makers: dict[Any, HeardCall] = {}
        self.roots: list[Any] = []
        self.batch_high = 0.0
        self.recent: deque[Beginning] = deque(maxlen=64)
        self.last: HeardTensor | None = None
        self.trouble: Exception | None = None
        self._known: Any = tensor_table()
        self._calls: list[HeardCall] = []
        self._modules: list[Any] = []
        self._order = 0
        self._deaf = 0
        self._patches = Patches()

    def enter(self) -> None:
        """Begin."""
        self._patches.wrap(nn.Module, "__call__", self._module)
        self._patches.wrap(torch.autograd.Function, "apply", self._function)
        self.__enter__()

    def leave(self) -> None:
        """Take everything off."""
        self.awake = False
        self.__exit__(None, None, None)
        self._patches.undo()

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """Nothing inside is looked at."""
        self._deaf += 1
        try:
            yield
        finally:
            self._deaf -= 1

    def forget(self) -> None:
        """A step is over: the graph of its backward pass is let go."""
        self.makers.clear()

    def next(self) -> int:
        """Counts calls and nodes in the order in which they happen."""
        self._order += 1
        return self._order

    def known(self, tensor: Any) -> HeardTensor | None:
        """What is kept of a tensor; None where no call took or made it."""
        found = self._known.get(tensor)
        return found if isinstance(found, HeardTensor) else None

    def keep(self, tensor: Any, heard: HeardTensor) -> None:
        """What is to be known of a tensor from now on."""
        self._known[tensor] = heard

    # --- calls ---------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every call comes through here."""
        kwargs = kwargs or {}
        if hasattr(
            func, "__evengrad_patch__"
        ):  # torch hands our patch of a function on as the function
            func = func.__wrapped__
        name = names.plain(func)
        if not self.awake or self._deaf or names.passed(func, name) or self._again(func):
            return func(*args, **kwargs)
        return self._heard(func, name, args, kwargs, functools.partial(self._call, func))

    def _again(self, func: Any) -> bool:
        """Whether a function asks inside of itself, in a way of its own, whether it is overridden."""
        return bool(self._calls) and self._calls[-1].function is func

    def _function(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``autograd.Function.apply``; it takes the class first."""

        def apply(cls: type, *args: Any, **kwargs: Any) -> Any:
            made = functools.partial(original, cls)
            if not self.awake or self._deaf:
                return made(*args, **kwargs)
            return self._heard(cls, cls.__name__, args, kwargs, made)

        return apply

    def _heard(self, func: Any, name: str, args: Any, kwargs: Any, make: Callable[..., Any]) -> Any:
        call = self._safely(self._begin, func, name, args, kwargs)
        if call is None:
            return make(*args, **kwargs)
        self._calls.append(call)
        try:
            result = make(*args, **kwargs)
        finally:
            self._calls.pop()
        self._safely(self._end, call, args, kwargs, result)
        return result

    def _call(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Call it so that the calls inside are heard, too: its own question whether it is overridden is
        answered once with no.
        """
        space = func.__globals__ if isinstance(func, FunctionType) else {}
        checks = {name: space[name] for name in _CHECKS if name in space}
        if not checks:
            return func(*args, **kwargs)

        def once(*_: Any) -> bool:
            space.update(checks)
            return False

        space.update(dict.fromkeys(checks, once))
        try:
            with self:
                return func(*args, **kwargs)
        finally:
            space.update(checks)

    def _safely(self, work: Callable[..., Any], *args: Any) -> Any:
        try:
            with self.deaf():
                return work(*args)
        except Exception as error:
            self.trouble = self.trouble or error
            return None

    def _begin(self, func: Any, name: str, args: Any, kwargs: Any) -> HeardCall:
        parent = self._calls[-1] if self._calls else None
        call = HeardCall(func, name, self.next(), spot(sys._getframe(1)), parent)
        call.module = self._modules[-1] if self._modules and _weighted(self._modules[0]) else None
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        call.operands = [self._operand(t, call) for t in tensors]
        if call.module is None and any(operand.trained for operand in call.operands):
            for operand in call.operands:
                if not operand.trained and operand.role is None:
                    self._name(operand, "targets")
        return call

    def _operand(self, tensor: Any, call: HeardCall | None) -> HeardTensor:
        """What is known of it now; what was not made by a call is given."""
        found = self.known(tensor)
        if found is not None and found.version == version(tensor):
            return found
        given = figures(tensor)
        given.version = version(tensor)
        given.trained = tensor.requires_grad or bool(found and found.trained)
        given.role = found.role if found else None
        if given.role is None and (isinstance(tensor, nn.Parameter) or _leaf(tensor)):
            given.role = "weights"
        elif given.role is None and call is not None and call.module is not None:
            given.role = "constant"
        if given.bad:
            given.name = (found.name if found else "") or name_of(tensor, sys._getframe(1))
            given.meant = not given.nan and given.role != "weights"
            if not given.meant:
                given.born = Beginning("given", call, given, self.next(), given.bad, given.nan)
        self.keep(tensor, given)
        return given

    def _end(self, call: HeardCall, args: Any, kwargs: Any, result: Any) -> None:
        outputs = [t for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
        if in_place(call.name, kwargs) and args and isinstance(args[0], torch.Tensor):
            outputs = [args[0]]
        elif isinstance(kwargs.get("out"), torch.Tensor):
            outputs = [kwargs["out"]]
        for tensor in outputs:
            before = self.known(tensor)
            if before is None or before.version != version(tensor):
                self._made(tensor, call, (args, kwargs))
            elif before.call is not None and before not in call.made:
                call.made.append(before)
            self._own(tensor, call)

    def _made(self, tensor: Any, call: HeardCall, given: Any) -> None:
        made = figures(tensor)
        if made.bad and not any(operand.bad for operand in call.operands):
            self._look_again(tensor, call, given)
        made.version, made.call = version(tensor), call
        made.trained = tensor.requires_grad or any(o.trained for o in call.operands)
        roles = [o.role for o in call.operands if o.role in ("batch", "targets")]
        if not made.trained and roles:
            made.role = roles[0]
        elif call.operands and all(o.role == "weights" for o in call.operands):
            made.role = "weights"  # of nothing but them: a penalty's
        if made.bad:
            made.born = self._beginning(call, made)
        call.made.append(made)
        self.keep(tensor, made)
        if call.parent is None and made.trained and made.bad and tensor.numel() == 1:
            self.last = made

    def _look_again(self, made: Any, call: HeardCall, given: Any) -> None:
        """What a call was given may have been written by what torch does not show, such as NumPy."""
        tensors = [t for t in tree_leaves(given) if isinstance(t, torch.Tensor)]
        for place, tensor in enumerate(tensors[: len(call.operands)]):
            if tensor is not made and figures(tensor).bad:
                call.operands[place].version = -1
                call.operands[place] = self._operand(tensor, call)

    def _beginning(self, call: HeardCall, made: HeardTensor) -> Beginning | None:
        """Where what is not finite in a result began: in what the call was given, or here."""
        bad = [operand for operand in call.operands if operand.bad]
        born = [operand.born for operand in bad if operand.born is not None]
        if born:
            return min(born, key=lambda one: one.order)
        told = not made.nan and (names.moves(call.name) if bad else call.name in names.FILLS)
        if told and (bad or not call.operands or call.name not in ("tensor", "as_tensor")):
            made.meant = True
            return None
        given = [o for o in bad if o.role in ("batch", "targets") and _data(o)]
        if given and names.canonical(call.name) not in _UNDEFINED:
            return Beginning("given", call, given[0], self.next(), given[0].bad, given[0].nan)
        if not call.operands or (made.nan and not bad and call.name in names.FILLS):
            made.name = assigned(call.spot) if call.spot is not None else ""
            return Beginning("given", call, made, self.next(), made.bad, made.nan)
        found = Beginning("forward", call, made, call.order, made.bad, made.nan, dtype=made.dtype)
        self.recent.append(found)
        return found

    def _own(self, tensor: Any, call: HeardCall) -> None:
        """The nodes behind a result that belong to no call yet are this one's."""
        waiting = [tensor.grad_fn] if tensor.grad_fn is not None else []
        while waiting:
            node = waiting.pop()
            if node is None or node in self.makers or not node.next_functions:
                continue
            self.makers[node] = call
            waiting += [before for before, _ in node.next_functions]

    # --- modules ---------------------------------------------------------------------------------

    def _module(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``nn.Module.__call__``: whose calls are made inside, and what the outermost one was given."""

        def call(module: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.awake or self._deaf:
                return original(module, *args, **kwargs)
            if not self._modules:
                self._safely(self._enter_root, module, args, kwargs)
            self._modules.append(module)
            try:
                return original(module, *args, **kwargs)
            finally:
                self._modules.pop()

        return call

    def _enter_root(self, module: Any, args: Any, kwargs: Any) -> None:
        if not _weighted(module):
            return
        if not any(module is root for root in self.roots):
            self.roots.append(module)
        for tensor in tree_leaves((args, kwargs)):
            if not isinstance(tensor, torch.Tensor):
                continue
            heard = self._operand(tensor, None)
            if not heard.trained:
                self.batch_high = max(self.batch_high, abs(heard.low), abs(heard.high))
                self._name(heard, "batch")
                heard.name = heard.name or name_of(tensor, sys._getframe(1))

    def _name(self, heard: HeardTensor, role: str) -> None:
        """What a tensor is to the training; also where it was not finite from the beginning."""
        heard.role = role
        if heard.born is not None and heard.born.direction == "given" and heard.born.tensor:
            heard.born.tensor.role = heard.born.tensor.role or role


def _data(heard: HeardTensor, depth: int = 20) -> bool:
    """Whether it came with the data: no call made it, or one that only puts together what did."""
    call = heard.call
    if call is None or call.name in _FROM_OUTSIDE:
        return True
    if not depth or call.name in names.FILLS or not names.moves(call.name):
        return False
    return all(_data(operand, depth - 1) for operand in call.operands if operand.bad)


def _weighted(module: Any) -> bool:
    return next(module.parameters(), None) is not None


def _leaf(tensor: Any) -> bool:
    return bool(tensor.requires_grad) and bool(tensor.is_leaf)
