"""Records the user's own forward pass, call by call, without changing a bit of it.

Each differentiable input of a call is passed as an identity view with a hook of its own, so that the
gradient through that call alone is seen; a hook on each output sees the gradient by all paths. In-place
calls run on a copy that is then written back, so ``inplace=True`` needs no flag flipped. (Module backward
hooks would crash there, pytorch#61519.)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from evengrad.adapters.common.health import activation_health, health_limits
from evengrad.adapters.common.patching import Patches
from evengrad.adapters.torch.compat import tensor_table, tree_leaves, tree_map, version
from evengrad.adapters.torch.laws.laws import kernel_figures, measured, moments
from evengrad.adapters.torch.losses.listener import LossListener
from evengrad.adapters.torch.ops.calls import (
    PASSED,
    SUMS,
    VIEWED,
    fan_in,
    flat_ends,
    source,
)
from evengrad.adapters.torch.ops.draft import Operand, OperationDraft
from evengrad.adapters.torch.ops.drafting import draft
from evengrad.adapters.torch.ops.kinds import LOSSES, in_place, kind_of
from evengrad.adapters.torch.record.graph import MadeBefore, RecordedCall
from evengrad.adapters.torch.record.losses import read_loss
from evengrad.adapters.torch.record.modules import ModuleStack
from evengrad.adapters.torch.record.numbers import TensorNumbers
from evengrad.adapters.torch.record.roots import ModelInput
from evengrad.adapters.torch.statistics.health import shares
from evengrad.adapters.torch.statistics.layout import array
from evengrad.adapters.torch.statistics.ledger import summary_of
from evengrad.values.probe import ActivationHealth
from evengrad.values.spec import Kind, Law
from evengrad.values.summary import Summary, together


@dataclass(slots=True)
class Penalty:
    """A term of the loss that hangs on parameters alone, such as an L2 sum. incoming: dL/dterm."""

    term: Any
    incoming: Any = None


class Recorder(TensorNumbers, TorchFunctionMode):
    """Active between ``enter`` and ``leave``; holds the graph of every call that it saw.

    trouble: the first error of our own; the script's forward goes on all the same.
    """

    def __init__(
        self, on_backward: Callable[[Any], None] | None = None, *, describing: bool = False
    ) -> None:
        super().__init__(describing=describing)
        self.on_backward = on_backward
        self.nodes: list[RecordedCall] = []
        self.inputs: list[ModelInput] = []
        self.penalties: list[Penalty] = []
        self.scale = 1.0
        self.trouble: Exception | None = None
        self.modules = ModuleStack(self)
        self.losses = LossListener()
        self._derived: Any = tensor_table()  # made of parameters alone -> which
        self._moved: Any = tensor_table()  # a parameter transposed or reshaped -> it
        self._constants: Any = tensor_table()
        self._figures: dict[int, tuple[Any, Summary]] = {}  # by id; the parameter is kept alive
        self._buffers: dict[int, tuple[int, Law]] = {}  # by id: what it was written to, and its law
        self._kernels: dict[int, list[float]] = {}  # by id, too
        self.guessed: dict[int, Any] = {}  # weights that stand for what was made of them
        self._outside: set[int] = set()  # numbers that the model gave, or the script made of them
        self._paused = 0
        self._stopped = False
        self._backwards = 0
        self._patches = Patches()

    # --- switching on and off ---------------------------------------------------------------

    def enter(self) -> None:
        """Start to record."""
        self._patches.wrap(nn.Module, "__call__", self.modules.watching)
        self._patches.wrap(torch.autograd.Function, "apply", self._recording)
        self.__enter__()

    def leave(self) -> None:
        """Stop to record, and take the patches off."""
        self.__exit__(None, None, None)
        self._patches.undo()

    def _recording(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``Function.apply``, recorded; it takes the class first."""

        def apply(cls: type, *args: Any, **kwargs: Any) -> Any:
            return self.call(functools.partial(original, cls), cls.__name__, args, kwargs)

        return apply

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What runs inside is not recorded."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    @contextmanager
    def in_backward(self) -> Iterator[None]:
        """What a backward pass calls is not recorded: that of a checkpointed model calls forward again."""
        self._backwards += 1
        try:
            with self.paused():
                yield
        finally:
            self._backwards -= 1

    def stop(self) -> None:
        """Record no more."""
        self._paused += 1
        self._stopped = True

    def let_go(self) -> None:
        """Forget every tensor of the forward pass; what was found of them stays."""
        for node in self.nodes:
            node.tail = node.call_made = None
        for given in self.inputs:
            given.leaf = None
        self.penalties.clear()
        self.modules.root_calls.clear()
        self.losses = LossListener()

    def rest(self) -> None:
        """Forget what was recorded, and record no more until ``wake``."""
        self.nodes, self.inputs, self.penalties = [], [], []
        self.trouble, self.losses = None, LossListener()
        self._figures, self._buffers, self._kernels = {}, {}, {}
        self.guessed, self._outside = {}, set()
        self.scale = 1.0
        self.modules.forget()
        self._paused, self._stopped = 1, False

    def wake(self) -> None:
        """Record again."""
        self.rest()
        self._paused = 0

    @property
    def recomputing(self) -> bool:
        """Whether a module called now is one that a backward pass calls again."""
        return torch.is_grad_enabled() and bool(self.measuring or self._stopped or self._backwards)

    @property
    def made_constants(self) -> bool:
        """Whether the model made tensors from no data."""
        return len(self._constants) > 0

    @property
    def idle(self) -> bool:
        """Whether calls go by unrecorded now."""
        return bool(self._paused) or self.measuring or not torch.is_grad_enabled()

    def fault(self, reached: Sequence[RecordedCall]) -> Exception | None:
        """What the script would have raised already, at a loss call with labels out of range; None where the
        backward pass reached one, too, for a rule reports it.
        """
        faulty = [n for n in self.nodes if n.head is not None and n.head.fault is not None]
        if not faulty or any(node in reached for node in faulty):
            return None
        assert faulty[0].head is not None
        return faulty[0].head.fault

    # --- functions ----------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every torch call of the script comes through here, the highest-level one of each."""
        kwargs = kwargs or {}
        if func is torch.Tensor.backward and self.on_backward is not None:
            self.losses.before("backward", args, kwargs)
            self.on_backward(args[0])
            with self.in_backward():
                return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name == "__get__":
            name = getattr(getattr(func, "__self__", None), "__name__", "")
            if name not in VIEWED:
                return func(*args, **kwargs)
        elif name in PASSED:
            return func(*args, **kwargs)
        if self.idle:
            return func(*args, **kwargs)
        self.losses.before(name, args, kwargs)
        result = self.call(func, name, args, kwargs)
        self.losses.after(name, args, kwargs, result)
        return result

    def call(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """One call: recorded if a gradient will come through it on its way to the data."""
        if self.idle:
            return func(*args, **kwargs)
        with self.paused():
            try:
                finish, args, kwargs = self._prepare(func, name, args, kwargs)
            except Exception as error:  # the user's forward goes on, whatever becomes of ours
                self.trouble = self.trouble or error
                return func(*args, **kwargs)
            result = func(*args, **kwargs)
            try:
                return finish(result)
            except Exception as error:
                self.trouble = self.trouble or error
                return result

    def _prepare(
        self, func: Any, name: str, args: Any, kwargs: Any
    ) -> tuple[Callable[[Any], Any], Any, Any]:
        """What to do with the result of a call, and the arguments to make it with."""
        leaves = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        if any(t.is_meta for t in leaves) and not self.describing:
            return _as_it_is, args, kwargs
        for t in leaves:
            if t.grad_fn is not None and t not in self._numbers and t not in self._derived:
                self._adopt(t)
        data = [t for t in leaves if t in self._numbers and t.requires_grad]
        parameters = [t for t in leaves if t.requires_grad and t not in self._numbers]
        if not data and all(t.requires_grad or self._constant(t) for t in leaves):
            if parameters:
                self._derive_real(func, name, args, kwargs)
                derive = functools.partial(self._derive, (func, args, kwargs), name, parameters)
                return derive, args, kwargs
            inside = functools.partial(self._keep_constant, func, name, args, kwargs)
            return inside if self.modules.stack else _as_it_is, args, kwargs
        if not data and not parameters:
            return _as_it_is, args, kwargs
        return self._attach(func, name, args, kwargs, parameters, data)

    def _attach(
        self, func: Any, name: str, args: Any, kwargs: Any, parameters: list[Any], data: list[Any]
    ) -> tuple[Callable[[Any], Any], Any, Any]:
        """Hooks on the inputs of a call that is recorded."""
        node = self._node(name, args, kwargs, parameters, data)
        node.call_made = (name, func, self.operand(args), self.operand(kwargs))
        if node.kind is Kind.LOSS or name in LOSSES:
            shown = self.modules.loss_name(name)
            args, kwargs, node.head = read_loss(func, name, args, kwargs, shown)
            if node.head.output is not None:
                node.head.read = self._numbers.get(node.head.output)
            node.head.output = None
        if not node.inside and "out" not in kwargs:
            again = tree_map(self._numbered, args), tree_map(self._numbered, kwargs)
            if not in_place(name, kwargs):
                node.tail = func, *again
            elif isinstance(again[0][0], MadeBefore):  # such as ``loss *= scale``
                node.tail = functools.partial(_on_a_copy, func), *again
        sums = name in SUMS and bool(data) and all(t.numel() == 1 for t in data)

        def attach(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            if value in self._numbers and value.requires_grad:
                return self.view(value, node)
            return self._penalty(value) if sums and value.requires_grad else value

        first = in_place(name, kwargs)
        target = args[0] if first else kwargs.get("out")
        views = tree_map(attach, args), tree_map(attach, {**kwargs, "out": None})
        if "out" not in kwargs:
            views[1].pop("out")
        if not isinstance(target, torch.Tensor):
            return functools.partial(self._finish_call, node), *views
        if first:
            views = (views[0][0].clone(), *views[0][1:]), views[1]

        def write_back(result: Any) -> Any:
            target.copy_(views[0][0] if first else result)
            self.finish(node, [target])
            return target if result is not None else None

        return write_back, *views

    def _numbered(self, value: Any) -> Any:
        number = self.number(value)
        return value if number is None or number not in self._outside else MadeBefore(number)

    def _node(
        self, name: str, args: Any, kwargs: Any, parameters: list[Any], data: list[Any]
    ) -> RecordedCall:
        kind = kind_of(name, weighted=bool(parameters), inputs=len(data))
        node = self.node(name, kind)
        for p in parameters:
            node.parameters += (self._derived.get(p) or {id(p): p}).values()
            origin = self._moved.get(p, None if p in self._derived else p)
            if kind is Kind.WEIGHTS and origin is not None and p.ndim >= 2:
                node.fan_in[id(origin)] = fan_in(name, p, args, kwargs)
        if name.startswith("hardtanh"):
            node.flat = flat_ends(args, kwargs)
        return node

    def node(self, function: str, kind: Kind) -> RecordedCall:
        """A fresh record of a call made here and now."""
        node = RecordedCall(function, kind, source=source())
        self.modules.sign(node)
        return node

    # --- results -------------------------------------------------------------------------------

    def _finish_call(self, node: RecordedCall, result: Any) -> Any:
        self.finish(node, tree_leaves(result))
        return result

    def finish(self, node: RecordedCall, results: list[Any]) -> None:
        """Number and hook the outputs of a call, and read their figures."""
        outputs = [t for t in results if isinstance(t, torch.Tensor) and t.requires_grad]
        if not outputs:
            self._made_like(node, results)
            return
        self.nodes.append(node)
        for tensor in outputs:
            self._derived.pop(tensor, None)
            node.makes.append(self.register(tensor))
        if not node.inside:
            self._outside.update(node.makes)
        node.draft = self._draft(node, outputs)
        self._read(node, outputs)

    def _read(self, node: RecordedCall, outputs: list[Any]) -> None:
        """Hook the outputs, and take their figures."""
        for slot, tensor in enumerate(outputs):
            tensor.register_hook(functools.partial(self._above, node, slot))
        parts: list[Summary] = []

        def tell(found: Summary) -> None:
            parts.append(found)
            if len(parts) == len(outputs):
                node.forward = _side_by_side(parts)

        for tensor in outputs:
            self.ledger.summary(tensor, tell)
        node.dtype = str(outputs[0].dtype).removeprefix("torch.")
        if node.kind is Kind.ACTIVATION and len(outputs) == 1:
            self._health(node, outputs[0].detach())

    def _health(self, node: RecordedCall, values: Any) -> None:
        axis = 1 if values.ndim >= 4 else -1  # channels of maps, else features
        if not self.ledger.away(values):
            node.health = activation_health(node.label, array(values), axis=axis, flat=node.flat)
            return
        limits = health_limits(node.label, values.shape, node.flat)
        if limits is None:
            return
        units = int(values.shape[axis])

        def tell(found: list[float]) -> None:
            node.health = ActivationHealth(found[0], found[1], units)

        self.ledger.numbers(shares(values, limits, axis), tell)

    def _made_like(self, node: RecordedCall, results: list[Any]) -> None:
        """A call through which no gradient comes: nothing to measure."""

    def operand(self, value: Any) -> Any:
        """Arguments with tensors as a draft has them."""
        if type(value) in (list, tuple):
            return type(value)(self.operand(v) for v in value)
        if type(value) is dict:
            return {k: self.operand(v) for k, v in value.items()}
        if not isinstance(value, torch.Tensor):
            return value
        number = self._numbers.get(value) if value.requires_grad else None
        kernel = self._kernels.get(id(value))
        return Operand(number, tuple(value.shape), value, self.law_of, self._values(value), kernel)

    def _values(self, tensor: Any) -> Any:
        return None if tensor.is_meta else tensor

    def gave(self, numbers: list[int | None]) -> None:
        """An outermost model returned these tensors."""
        self._outside.update(n for n in numbers if n is not None)

    def met(self, module: Any) -> None:
        """A model is called for the first time: what is on an accelerator is read all together."""
        own = [*module.parameters(), *module.buffers()]
        away = [t for t in own if id(t) not in self._figures and self.ledger.away(t)]
        with self.paused():
            try:
                self._later(away)
                if away:
                    self.ledger.read()
            except Exception as error:
                self.trouble = self.trouble or error

    def _later(self, tensors: list[Any]) -> None:
        own = [t for t in tensors if isinstance(t, nn.Parameter)]
        self.ledger.summaries(own, [functools.partial(self._figures_told, t) for t in own])
        for tensor in tensors:
            if not isinstance(tensor, nn.Parameter) and tensor.numel():
                self.ledger.numbers(moments(tensor), functools.partial(self._law_told, tensor))
            elif 3 <= tensor.ndim <= 5 and tensor.shape[2:].numel() > 1:
                told = functools.partial(self._kernels.__setitem__, id(tensor))
                self.ledger.numbers(kernel_figures(tensor), told)

    def _figures_told(self, tensor: Any, found: Summary) -> None:
        self._figures[id(tensor)] = tensor, found

    def _law_told(self, tensor: Any, found: list[float]) -> None:
        law = Law(found[0], found[1], bounds=(found[2], found[3]))
        self._buffers[id(tensor)] = version(tensor), law

    def expect(self, parameters: list[Any]) -> None:
        """Their figures will be asked for: with the next read."""
        self._later([p for p in parameters if id(p) not in self._figures and self.ledger.away(p)])

    def figures(self, parameter: Any) -> Summary:
        """Of a weight with values, read once: no step is taken while recording."""
        if id(parameter) not in self._figures:
            self._figures[id(parameter)] = parameter, summary_of(parameter)
        return self._figures[id(parameter)][1]

    def law_of(self, tensor: Any) -> Law:
        """Of a weight or constant. A weight on its way (transposed) has the law of the weight."""
        if tensor.is_meta:
            return Law(0.0, 1.0, "unknown")
        own = isinstance(tensor, nn.Parameter)
        origin = tensor if own else self._moved.get(tensor, tensor)
        if not isinstance(origin, nn.Parameter):
            known = self._buffers.get(id(tensor))
            same = (
                known is not None and known[0] == version(tensor) and self.modules.is_buffer(tensor)
            )
            return known[1] if known is not None and same else measured(tensor)
        figures = self.figures(origin)
        return Law(figures.mean, figures.rms)

    def _draft(self, node: RecordedCall, outputs: list[Any]) -> OperationDraft | None:
        """The operation as a spec has it; the tensors that the call was given are let go."""
        if node.call_made is None:
            return node.draft
        name, func, args, kwargs = node.call_made
        node.call_made = None
        found = draft(name, func, args, kwargs, outputs)
        for operand in found.operands:
            if operand.number is None:
                node.laws[id(operand)] = operand.constant()
            operand.tensor = operand.values = None
        return found

    def _derive_real(self, func: Any, name: str, args: Any, kwargs: Any) -> None:
        """Before something is made of parameters alone."""

    def _derive(
        self, _call: tuple[Any, Any, Any], name: str, parameters: list[Any], result: Any
    ) -> Any:
        """Made of parameters alone: a derived weight, or on its way to be a penalty."""
        origins: dict[int, Any] = {}
        for p in parameters:
            origins |= self._derived.get(p) or {id(p): p}
        moved = kind_of(name, weighted=True, inputs=0) is Kind.RESHAPE and len(parameters) == 1
        for t in tree_leaves(result):
            if isinstance(t, torch.Tensor) and t.requires_grad and not t.is_leaf:
                self._derived[t] = origins
                p = parameters[0]
                if moved and (p in self._moved or p not in self._derived):
                    self._moved[t] = self._moved.get(p, p)
        return result

    def _keep_constant(self, _func: Any, _name: str, _args: Any, _kwargs: Any, result: Any) -> Any:
        for t in tree_leaves(result):
            if isinstance(t, torch.Tensor):
                self._constants[t] = True
        return result

    def _constant(self, tensor: Any) -> bool:
        """One number, or made inside the model from no data: positions, masks, buffers."""
        if tensor.numel() == 1 and tensor.ndim < 2:
            return True
        return tensor in self._constants or self.modules.is_buffer(tensor)

    # --- tensors -------------------------------------------------------------------------------

    def _adopt(self, tensor: Any) -> None:
        """Made by something that torch does not show us: compiled code, an extension."""
        made = type(tensor.grad_fn).__name__
        self.trouble = self.trouble or RuntimeError(f"{made}, which hides what was in front of it")
        self.register_source(tensor)

    def _penalty(self, value: Any) -> Any:
        """The data's gradient stops here, so that it stays exact beside a penalty 1e16 times larger."""
        term = Penalty(value)
        self.penalties.append(term)
        view = value.view_as(value)

        def silence(grad: Any) -> Any:
            if not self.measuring:
                return None
            term.incoming = grad
            return torch.zeros_like(grad)

        view.register_hook(silence)
        return view


def _side_by_side(parts: list[Summary]) -> Summary:
    """Of several outputs as one vector."""
    whole = together(parts)
    return whole if len(parts) == 1 else replace(whole, shape=(sum(p.size for p in parts),))


def _on_a_copy(func: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
    return func(target.clone(), *args, **kwargs)


def _as_it_is(result: Any) -> Any:
    return result
