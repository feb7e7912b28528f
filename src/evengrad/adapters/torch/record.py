"""Records the user's own forward pass, call by call, without changing a bit of it.

Each differentiable input of a call is passed as an identity view with a hook of its own, so that the
gradient through that call alone is seen; a hook on each output sees the gradient by all paths. In-place
calls run on a copy that is then written back, so ``inplace=True`` needs no flag flipped. (Module backward
hooks would crash there, pytorch#61519.)
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from evengrad.adapters.torch.graph import Node, activation_health, summary_of
from evengrad.adapters.torch.kinds import LOSSES, in_place, kind_of
from evengrad.adapters.torch.losses import Head, read_loss
from evengrad.probe import Kind
from evengrad.statistics import Summary

ATOMIC = {
    nn.MultiheadAttention: Kind.ATTENTION,
    nn.RNNBase: Kind.RECURRENT,
    nn.RNNCellBase: Kind.RECURRENT,
}
_OURS = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
_TORCH = os.path.dirname(torch.__file__)


class Penalty:
    """A term of the loss that hangs on parameters alone, such as an L2 sum."""

    def __init__(self, term: Any, node: Node) -> None:
        self.term = term
        self.node = node
        self.incoming: Any = None


class Recorder(TorchFunctionMode):
    """Active between ``enter`` and ``leave``; holds the graph of every call that it saw."""

    def __init__(self, on_backward: Callable[[Any], None] | None = None) -> None:
        super().__init__()
        self.on_backward = on_backward
        self.nodes: list[Node] = []
        self.inputs: dict[int, tuple[str, Any, Any]] = {}  # number -> name, value, the leaf
        self.integers: list[tuple[str, Any]] = []
        self.input_gradients: dict[int, float] = {}
        self.roots: list[nn.Module] = []
        self.returned: list[int] = []
        self.penalties: list[Penalty] = []
        self.heads: dict[int, Head] = {}  # id(node) -> what a loss call read
        self.readers: dict[int, int] = {}  # number -> how many calls on the path read it
        self.measuring = False
        self.scale = 1.0
        self.trouble: Exception | None = None
        self._numbers: Any = WeakTensorKeyDictionary()
        self._derived: Any = WeakTensorKeyDictionary()  # made of parameters alone -> which
        self._constants: Any = WeakTensorKeyDictionary()
        self._count = 0
        self._stack: list[nn.Module] = []
        self._paths: dict[int, str] = {}
        self._names: dict[str, int] = {}
        self._paused = 0
        self._call = nn.Module.__call__

    # --- switching on and off ---------------------------------------------------------------

    def enter(self) -> None:
        """Start to record."""
        recorder, original = self, nn.Module.__call__
        self._call = original

        def call(module: Any, *args: Any, **kwargs: Any) -> Any:
            return recorder.module_call(original, module, args, kwargs)

        nn.Module.__call__ = call
        self.__enter__()

    def leave(self) -> None:
        """Stop to record, and take the patch off."""
        self.__exit__(None, None, None)
        nn.Module.__call__ = self._call

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What runs inside is not recorded."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    def number(self, tensor: Any) -> int | None:
        """The number of a recorded tensor."""
        found: int | None = self._numbers.get(tensor)
        return found

    # --- modules ------------------------------------------------------------------------------

    def module_call(self, original: Any, module: Any, args: Any, kwargs: Any) -> Any:
        """One call of a module: keeps the stack of names, and takes the outermost one's inputs."""
        if self._paused or self.measuring or not torch.is_grad_enabled():
            return original(module, *args, **kwargs)
        outermost = not self._stack and any(True for _ in module.parameters())
        if outermost:
            self._begin(module)
            if not _checkpointed():
                with self.paused():
                    args, kwargs = self._take_inputs(module, args, kwargs)
        self._stack.append(module)
        try:
            kind = next((k for t, k in ATOMIC.items() if isinstance(module, t)), None)
            if kind is not None:
                result = self._atomic(original, module, kind, args, kwargs)
            else:
                result = original(module, *args, **kwargs)
        finally:
            self._stack.pop()
        if outermost:
            numbers = [self.number(t) for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
            self.returned += [n for n in numbers if n is not None]
        return result

    def _begin(self, module: nn.Module) -> None:
        if any(root is module for root in self.roots):
            return
        label = variable_name(module) or type(module).__name__
        prefix = f"{label}." if self.roots else ""
        self.roots.append(module)
        for path, inner in module.named_modules():
            self._paths.setdefault(id(inner), prefix + path if path else label)

    def _take_inputs(self, module: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Let gradients reach the model's float inputs, so that the first layer's gain shows."""
        try:
            bound = inspect.signature(module.forward).bind(*args, **kwargs)
            named = [(name, value) for name, value in bound.arguments.items()]
            names = {
                id(t): n for n, v in named for t in tree_leaves(v) if isinstance(t, torch.Tensor)
            }
        except (TypeError, ValueError):
            names = {}

        def take(value: Any) -> Any:
            if not isinstance(value, torch.Tensor) or value.is_meta or value in self._numbers:
                return value
            name = names.get(id(value), "input")
            if not value.is_floating_point():
                self.integers.append((name, value))
                return value
            if value.requires_grad:
                leaf = seen = value
            else:
                leaf = value.detach().requires_grad_()
                seen = leaf.clone()
            number = self._register(seen)
            self.inputs[number] = (name, value.detach(), leaf)
            seen.register_hook(lambda grad: self._input_gradient(number, grad))
            return seen

        return tree_map(take, args), tree_map(take, kwargs)

    def _input_gradient(self, number: int, grad: Any) -> None:
        if self.measuring:
            self.input_gradients[number] = summary_of(grad).norm

    def _atomic(self, original: Any, module: Any, kind: Kind, args: Any, kwargs: Any) -> Any:
        """A module that counts as one operation, however many functions it calls."""
        node = self._node(type(module).__name__, kind, module_op=True)
        node.parameters = list(module.parameters())
        node.fan_in = {id(p): float(p.shape[1]) for p in node.parameters if p.ndim == 2}

        def attach(value: Any) -> Any:
            return self._view(value, node) if self._is_data(value) else value

        with self.paused():
            args, kwargs = tree_map(attach, args), tree_map(attach, kwargs)
            result = original(module, *args, **kwargs)
            self._finish(node, [t for t in tree_leaves(result) if _differentiable(t)])
        return result

    # --- functions ----------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every torch call of the script comes through here, the highest-level one of each."""
        kwargs = kwargs or {}
        if func is torch.Tensor.backward and self.on_backward is not None:
            self.on_backward(args[0])
            return func(*args, **kwargs)
        if self._paused or self.measuring or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name in {"__get__", "__set__", "requires_grad_", "register_hook", "detach", "backward"}:
            return self._property(func, args, kwargs)
        return self._call_function(func, name, args, kwargs)

    def _property(self, func: Any, args: Any, kwargs: Any) -> Any:
        """``x.T`` and the like make tensors; everything else of this sort is left alone."""
        owner = getattr(func, "__self__", None)
        name = getattr(owner, "__name__", "")
        if func.__name__ == "__get__" and name in {"T", "mT", "H", "mH", "real", "imag"}:
            return self._call_function(func, name, args, kwargs)
        return func(*args, **kwargs)

    def _call_function(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        leaves = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        if any(t.is_meta for t in leaves):
            return func(*args, **kwargs)
        parameters = [t for t in leaves if t.requires_grad and t not in self._numbers]
        data = [t for t in leaves if t in self._numbers]
        if not parameters and not data:
            result = func(*args, **kwargs)
            if self._stack and all(self._constant(t) for t in leaves):
                for t in tree_leaves(result):
                    if isinstance(t, torch.Tensor):
                        self._constants[t] = True
            return result
        if not data and all(t.requires_grad or self._constant(t) or t.ndim == 0 for t in leaves):
            return self._derive(func, parameters, args, kwargs)
        return self._record(func, name, args, kwargs, parameters, data)

    def _constant(self, tensor: Any) -> bool:
        """Made inside the model from no data: position numbers, masks, buffers."""
        if tensor in self._constants:
            return True
        return any(tensor is b for root in self.roots for b in root.buffers())

    def _derive(self, func: Any, parameters: list[Any], args: Any, kwargs: Any) -> Any:
        result = func(*args, **kwargs)
        origins: dict[int, Any] = {}
        for p in parameters:
            origins |= self._derived.get(p) or {id(p): p}
        for t in tree_leaves(result):
            if _differentiable(t) and not t.is_leaf:
                self._derived[t] = origins
        return result

    def _record(
        self, func: Any, name: str, args: Any, kwargs: Any, parameters: list[Any], data: list[Any]
    ) -> Any:
        kind = kind_of(name, weighted=bool(parameters), inputs=len(data))
        node = self._node(name, kind, module_op=kind not in (Kind.RESHAPE, Kind.OTHER, Kind.MERGE))
        if kind is Kind.LOSS or name in LOSSES:
            args, kwargs, head = read_loss(name, args, kwargs, self._loss_name(name))
            head.read = self._numbers.get(head.output) if head.output is not None else None
            head.output = None
            self.heads[id(node)] = head
        for p in parameters:
            node.parameters += (self._derived.get(p) or {id(p): p}).values()
            if kind is Kind.WEIGHTS and p not in self._derived and p.ndim >= 2:
                node.fan_in[id(p)] = _fan_in(name, p, args, kwargs, self._stack[-1:])
        scalar_sum = bool(data) and all(t.ndim == 0 for t in data)

        def attach(value: Any) -> Any:
            if self._is_data(value):
                return self._view(value, node)
            if scalar_sum and value is not None and self._is_penalty(value):
                return self._penalty(value, node)
            return value

        overwrites = in_place(name, kwargs)
        target = args[0] if overwrites else kwargs.get("out")
        if target is not None and isinstance(target, torch.Tensor):
            return self._overwrite(func, node, target, args, kwargs, attach, overwrites)
        result = func(*tree_map(attach, args), **tree_map(attach, kwargs))
        self._finish(node, [t for t in tree_leaves(result) if _differentiable(t)])
        return result

    def _overwrite(
        self, func: Any, node: Node, target: Any, args: Any, kwargs: Any, attach: Any, first: bool
    ) -> Any:
        """Run an in-place call on a copy, then write the copy back where the script expects it."""
        copy = (attach(target) if first else target).clone()
        if first:
            rest = tree_map(attach, args[1:])
            result = func(copy, *rest, **tree_map(attach, kwargs))
        else:
            result = func(*tree_map(attach, args), **tree_map(attach, {**kwargs, "out": None}))
            copy = result
        target.copy_(copy)
        if target.requires_grad:
            self._finish(node, [target])
        return target if result is not None else None

    # --- nodes and tensors ------------------------------------------------------------------

    def _is_data(self, value: Any) -> bool:
        return isinstance(value, torch.Tensor) and value in self._numbers

    def _is_penalty(self, value: Any) -> bool:
        return isinstance(value, torch.Tensor) and value.ndim == 0 and value in self._derived

    def _penalty(self, value: Any, node: Node) -> Any:
        term = Penalty(value, node)
        self.penalties.append(term)
        view = value.view_as(value)

        def silence(grad: Any) -> Any:
            if not self.measuring:
                return None
            term.incoming = grad
            return torch.zeros_like(grad)

        view.register_hook(silence)
        return view

    def _view(self, tensor: Any, node: Node) -> Any:
        """An identity view of an input, whose hook sees the gradient through this call alone."""
        number = self._numbers[tensor]
        slot = len(node.reads)
        node.reads.append(number)
        if not tensor.requires_grad:
            return tensor
        view = tensor.view_as(tensor)

        def below(grad: Any) -> None:
            # With one reader the gradient at its input is the one at the maker's output.
            if self.measuring and self.readers.get(number, 0) > 1:
                node.below[slot] = summary_of(grad).norm

        view.register_hook(below)
        return view

    def _register(self, tensor: Any) -> int:
        number = self._count
        self._count += 1
        self._numbers[tensor] = number
        return number

    def _finish(self, node: Node, outputs: list[Any]) -> None:
        if not outputs:
            return
        self.nodes.append(node)
        for slot, tensor in enumerate(outputs):
            if tensor in self._derived:
                del self._derived[tensor]
            node.makes.append(self._register(tensor))
            tensor.register_hook(lambda grad, slot=slot: self._above(node, slot, grad))
        try:
            node.forward = self._forward(outputs)
            if node.kind is Kind.ACTIVATION:
                node.health = activation_health(node.type, outputs[0])
        except Exception as error:  # the user's forward goes on, whatever becomes of the figures
            self.trouble = self.trouble or error

    def _forward(self, outputs: list[Any]) -> Summary:
        first = summary_of(outputs[0])
        if len(outputs) == 1:
            return first
        return summary_of(torch.cat([t.detach().reshape(-1).float() for t in outputs]))

    def _above(self, node: Node, slot: int, grad: Any) -> None:
        if self.measuring:
            node.above[slot] = summary_of(grad)

    def _node(self, function: str, kind: Kind, *, module_op: bool) -> Node:
        module = self._stack[-1] if self._stack else None
        path = self._paths.get(id(module), "") if module is not None else ""
        own = module is not None and type(module).__module__.startswith("torch.nn")
        leaf = own and next(iter(module.children()), None) is None if module is not None else False
        if module is not None and (module_op and (leaf or type(module) in ATOMIC)):
            name = layer = path or type(module).__name__
            kind_name = type(module).__name__
        else:
            plain = function.strip("_") or function
            name = f"{path}.{plain}" if path else plain
            kind_name = plain
            layer = path if leaf and path else name
        self._names[name] = self._names.get(name, 0) + 1
        if self._names[name] > 1:
            repeated = f"{name}_{self._names[name]}"
            layer = layer if layer != name or (module_op and leaf) else repeated
            name = repeated
        return Node(name, layer, kind, kind_name, _source(), inside=bool(self._stack))

    def _loss_name(self, function: str) -> str:
        module = self._stack[-1] if self._stack else None
        own = module is not None and type(module).__name__.endswith("Loss")
        return type(module).__name__ if own else function


def _differentiable(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad


def _source() -> str | None:
    """Where in the user's own code we are: the nearest frame outside torch and evengrad."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((_OURS, _TORCH)) and not file.startswith("<"):
            return f"{os.path.basename(file)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return None


def variable_name(value: Any) -> str | None:
    """What the user's code calls a value, in the frames above us."""
    frame = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith((_OURS, _TORCH)):
            for name, other in [*frame.f_locals.items(), *frame.f_globals.items()]:
                if other is value and not name.startswith("_") and name != "self":
                    return str(name)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _checkpointed() -> bool:
    """Inside activation checkpointing, whose second forward must save exactly what the first did."""
    top = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return top is not None and top(True) is not None


def _fan_in(name: str, weight: Any, args: Any, kwargs: Any, stack: list[Any]) -> float:
    """How many inputs each output element sums, on average."""
    shape = weight.shape
    if name.startswith("conv_transpose"):
        module = stack[0] if stack and hasattr(stack[0], "groups") else None
        stride = _option(args, kwargs, 3, "stride", module, 1)
        groups = _option(args, kwargs, 6, "groups", module, 1)
        strides = stride if isinstance(stride, tuple | list) else [stride] * (weight.ndim - 2)
        return float(shape[0] / groups * shape[2:].numel() / torch.Size(strides).numel())
    if name in {"matmul", "__matmul__", "mm", "bmm", "addmm", "__rmatmul__"}:
        left = any(weight is a for a in args[:1]) and name != "addmm"
        return float(shape[-1] if left else shape[-2])
    return float(weight[0].numel())


def _option(args: Any, kwargs: Any, place: int, name: str, module: Any, default: Any) -> Any:
    if name in kwargs:
        return kwargs[name]
    if len(args) > place:
        return args[place]
    return default if module is None else getattr(module, name)
