"""Which module of the user's a call belongs to, and what the outermost one was given."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from evengrad.adapters.torch.compat import tree_leaves, tree_map
from evengrad.adapters.torch.losses.listener import LossListener
from evengrad.adapters.torch.ops.modules import draft_module
from evengrad.adapters.torch.record.graph import RecordedCall
from evengrad.adapters.torch.record.roots import ModelInput, RootCall, tensors_of
from evengrad.values.spec import Kind, Law

# Modules that count as one operation, however many functions they call.
ATOMIC = {
    nn.MultiheadAttention: Kind.ATTENTION,
    nn.RNNBase: Kind.RECURRENT,
    nn.RNNCellBase: Kind.RECURRENT,
    torch.jit.ScriptModule: Kind.OTHER,
}


class CallRecorder(Protocol):
    """What records the calls: see ``Recorder``."""

    describing: bool
    trouble: Exception | None
    inputs: list[ModelInput]
    losses: LossListener

    @property
    def idle(self) -> bool: ...
    @property
    def recomputing(self) -> bool: ...
    def paused(self) -> AbstractContextManager[None]: ...
    def met(self, module: Any) -> None: ...
    def gave(self, numbers: list[int | None]) -> None: ...
    def number(self, tensor: Any) -> int | None: ...
    def register_source(self, tensor: torch.Tensor) -> int: ...
    def view(self, tensor: torch.Tensor, node: RecordedCall) -> torch.Tensor: ...
    def node(self, function: str, kind: Kind) -> RecordedCall: ...
    def operand(self, value: Any) -> Any: ...
    def law_of(self, tensor: Any) -> Law: ...
    def finish(self, node: RecordedCall, results: list[Any]) -> None: ...


@dataclass(slots=True)
class _Frame:
    module: Any
    call: int


class ModuleStack:
    """The modules being called now, outermost first. roots: every outermost one so far."""

    def __init__(self, recorder: CallRecorder) -> None:
        self.recorder = recorder
        self.stack: list[_Frame] = []
        self.roots: list[Any] = []
        self.returned: list[int] = []
        self.root_calls: list[RootCall] = []
        self._paths: dict[int, str] = {}
        self._buffers: dict[int, Any] = {}
        self._calls = 0
        self._passes = 0

    def forget(self) -> None:
        """All of the calls so far."""
        self.roots, self.returned, self.root_calls = [], [], []
        self._paths, self._buffers = {}, {}

    def watching(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """``nn.Module.__call__``, watched."""

        def call(module: Any, *args: Any, **kwargs: Any) -> Any:
            if self.recorder.idle:
                if self.recorder.recomputing and any(module is root for root in self.roots):
                    args, kwargs = tree_map(_with_gradient, args), tree_map(_with_gradient, kwargs)
                return original(module, *args, **kwargs)
            return self._call(original, module, args, kwargs)

        return call

    def _call(self, original: Any, module: Any, args: Any, kwargs: Any) -> Any:
        outermost = not self.stack and next(module.parameters(), None) is not None
        if outermost:
            self._passes += 1
            self._begin(module)
            noise = torch.get_rng_state()
            self.root_calls.append(RootCall(module, args, kwargs, noise, module.training))
            args, kwargs = self._guarded_inputs(module, args, kwargs)
        self._calls += 1
        self.stack.append(_Frame(module, self._calls))
        try:
            kind = next((k for t, k in ATOMIC.items() if isinstance(module, t)), None)
            if kind is None:
                result = original(module, *args, **kwargs)
            else:
                result = self._atomic(original, module, kind, args, kwargs)
        finally:
            self.stack.pop()
        if outermost:
            tensors = [t for t in tensors_of(result) if isinstance(t, torch.Tensor)]
            numbers = [self.recorder.number(t) for t in tensors]
            self.root_calls[-1].returned = numbers
            self.recorder.gave(numbers)
            self.returned += [n for n in numbers if n is not None]
        return result

    def _begin(self, module: Any) -> None:
        if any(root is module for root in self.roots):
            return
        self.roots.append(module)
        for path, inner in module.named_modules():
            self._paths.setdefault(id(inner), path)
        self._buffers |= {id(b): b for b in module.buffers()}
        self.recorder.met(module)

    def _atomic(self, original: Any, module: Any, kind: Kind, args: Any, kwargs: Any) -> Any:
        recorder = self.recorder
        if kind is Kind.ATTENTION:  # what is called within is not heard
            recorder.losses.before("multi_head_attention_forward", args, kwargs)
        node = recorder.node(type(module).__name__, kind)
        node.leaf = True
        node.parameters = list(module.parameters())
        if kind is not Kind.OTHER:
            node.fan_in = {id(p): float(p.shape[1]) for p in node.parameters if p.ndim == 2}

        def attach(value: Any) -> Any:
            known = (
                isinstance(value, torch.Tensor)
                and recorder.number(value) is not None
                and value.requires_grad
            )
            return recorder.view(value, node) if known else value

        given, named = recorder.operand(args), recorder.operand(kwargs)
        with recorder.paused():
            node.draft = draft_module(module, given, named, recorder.law_of)
            args, kwargs = tree_map(attach, args), tree_map(attach, kwargs)
            result = original(module, *args, **kwargs)
            try:
                recorder.finish(node, tree_leaves(result))
            except Exception as error:
                recorder.trouble = recorder.trouble or error
        return result

    def _guarded_inputs(self, module: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        with self.recorder.paused():
            try:
                return self._take_inputs(module, args, kwargs)
            except Exception as error:
                self.recorder.trouble = self.recorder.trouble or error
                return args, kwargs

    def _take_inputs(self, module: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Let gradients reach the model's float inputs, so that the first layer's gain shows."""
        names = _argument_names(module, args, kwargs)

        def take(value: Any) -> Any:
            recorder = self.recorder
            if not isinstance(value, torch.Tensor) or (value.is_meta and not recorder.describing):
                return value
            if recorder.number(value) is not None:
                return value
            name = names.get(id(value), "input")
            found = ModelInput(name, value.detach(), self._passes)
            recorder.inputs.append(found)
            if not value.is_floating_point():
                return value
            found.leaf = value if value.requires_grad else value.detach().requires_grad_()
            seen = value if value.requires_grad else found.leaf.clone()
            found.number = recorder.register_source(seen)
            return seen

        return tree_map(take, args), tree_map(take, kwargs)

    def sign(self, node: RecordedCall) -> None:
        """Write into a call which module made it."""
        if not self.stack:
            self._calls += 1
            node.call = self._calls
            return
        frame, root = self.stack[-1], self.stack[0].module
        module = frame.module
        node.owner = type(module).__name__.removeprefix("Parametrized")
        node.path = self._paths.get(id(module), "")
        node.framework = type(module).__module__.startswith("torch.nn")
        node.leaf = all(name == "parametrizations" for name, _ in module.named_children())
        node.call = frame.call
        node.forward_pass = self._passes
        node.root = id(root) if any(root is r for r in self.roots) else 0

    def loss_name(self, function: str) -> str:
        """The loss's class where a module made the call, else the function's name."""
        owner = type(self.stack[-1].module).__name__ if self.stack else ""
        return owner if owner.endswith("Loss") else function

    def is_buffer(self, tensor: Any) -> bool:
        """Whether a tensor belongs to a model without being trained."""
        return self._buffers.get(id(tensor)) is tensor


def _with_gradient(value: Any) -> Any:
    """A checkpointed model is called again in the backward pass, and must see what it saw before."""
    if isinstance(value, torch.Tensor) and value.is_floating_point() and not value.requires_grad:
        return value.detach().requires_grad_().clone()
    return value


def _argument_names(module: Any, args: Any, kwargs: Any) -> dict[int, str]:
    """Tensor id -> the name of the forward() argument that it came in."""
    try:
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return {}
    found: dict[int, str] = {}
    for name, value in bound.arguments.items():
        spread = value.items() if isinstance(value, dict) else [(name, value)]
        for inner, part in spread:
            found |= {id(t): str(inner) for t in tree_leaves(part) if isinstance(t, torch.Tensor)}
    return found
