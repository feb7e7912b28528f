"""What the outermost modules were given in this step, by reference, to see a bad step again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from evengrad.adapters.torch.compat import compiled, tree_leaves
from evengrad.adapters.torch.record.roots import tensors_of
from evengrad.adapters.torch.tap.inputs import Inputs

_MUCH = 4_000_000
"""Elements of a batch that may be kept to the end."""
_LARGEST = 1_000_000
"""Elements of an output that is kept to the end of its step."""


@dataclass(slots=True)
class ForwardCall:
    """One forward pass of an outermost module.

    Attributes:
        module: which one.
        args: what it was given.
        kwargs: the same, by name.
        noise: the random state before it.
        training: the module's mode.
        autocast: its dtype, or None where it was off.
        gradients: of what it gave, by place.
        output: what it gave in this step, where that is one tensor and not a large one; on no graph.
    """

    module: Any
    args: Any
    kwargs: Any
    noise: Any
    training: bool
    autocast: Any
    gradients: dict[int, Any] = field(default_factory=dict)
    output: Any = None

    @property
    def small(self) -> bool:
        """Whether what it was given may be kept after its step: it is not much, and hangs on no graph."""
        much = 0
        for tensor in self._given():
            if tensor.requires_grad:
                return False
            much += tensor.numel()
        return much <= _MUCH

    def _given(self) -> Sequence[Any]:
        values = (*self.args, *self.kwargs.values())
        if all(isinstance(value, torch.Tensor) for value in values):
            return values  # most often, and in no container
        return [t for t in tree_leaves(values) if isinstance(t, torch.Tensor)]


class Capture:
    """Hooks on the outermost modules of one optimizer's parameters."""

    def __init__(self, roots: Sequence[Any]) -> None:
        self.roots = [root for root in roots if not compiled(root)]
        self.calls: list[ForwardCall] = []
        self.past: dict[int, list[ForwardCall]] = {}
        self.last: ForwardCall | None = None  # of the last step that is over
        self.inputs = Inputs()
        self._hooks: list[Any] = []
        self._paused = False
        for root in self.roots:
            self._hooks.append(root.register_forward_pre_hook(self._before, with_kwargs=True))
            self._hooks.append(root.register_forward_hook(self._after))

    def forget(self, step: int, kept: int) -> None:
        """The step is over. kept: how many of the last steps may still be asked for in ``past``."""
        if kept:
            self.past[step] = self.calls
            self.past.pop(step - kept, None)
        for call in self.calls:
            call.output = None
        if self.calls and self.calls[-1].small:
            self.last = replace(self.calls[-1], gradients={})
        self.calls = []

    def remove(self) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()
        self.calls.clear()
        self.past.clear()

    def end(self) -> None:
        """Keep nothing any more. The hooks stay: a forward pass may be going through them now."""
        self._paused = True
        self.calls.clear()
        self.past.clear()
        self.last = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Calls inside are ours."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def __deepcopy__(self, memo: Any) -> Capture:
        """A copied model is not watched."""
        return Capture([])

    def _before(self, module: Any, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling() or self._paused:  # else the graph would break here
            return
        self.inputs.given(module, args, kwargs)
        if not torch.is_grad_enabled():
            return
        device = "cuda" if torch.is_autocast_enabled("cuda") else "cpu"
        autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        self.calls.append(
            ForwardCall(module, args, kwargs, torch.get_rng_state(), module.training, autocast)
        )
        if len(self.calls) > 16:  # many passes before one step: the last ones will do
            del self.calls[0]

    def _after(self, module: Any, _args: Any, output: Any) -> None:
        if (
            torch.compiler.is_compiling()
            or self._paused
            or not self.calls
            or self.calls[-1].module is not module
            or not torch.is_grad_enabled()
        ):
            return
        call = self.calls[-1]
        if isinstance(output, torch.Tensor):
            call.output = output.detach() if output.numel() <= _LARGEST else None
            if output.requires_grad:
                output.register_hook(lambda g: call.gradients.__setitem__(0, g))
            return
        for slot, tensor in enumerate(outputs_of(output)):
            if tensor.requires_grad:
                tensor.register_hook(lambda g, slot=slot: call.gradients.__setitem__(slot, g))


def outputs_of(output: Any) -> list[Any]:
    """The tensors that a model returned."""
    return [t for t in tensors_of(output) if isinstance(t, torch.Tensor)]


def without_hooks(state: dict[str, Any]) -> dict[str, Any]:
    """What is copied or pickled of a module: all but our hooks, which are nobody's state. They stand in tables
    by numbers that are theirs alone, in some with a flag.
    """
    tables = {n: t for n, t in state.items() if isinstance(t, dict) and "hooks" in n}
    ours = {key for table in tables.values() for key, hook in table.items() if _is_ours(hook)}
    if not ours:
        return state
    kept = {
        name: type(table)((k, v) for k, v in table.items() if k not in ours)
        for name, table in tables.items()
        if not ours.isdisjoint(table)
    }
    return state | kept


def _is_ours(hook: Any) -> bool:
    return isinstance(getattr(hook, "__self__", None), Capture)


def arrays_of(call: ForwardCall) -> dict[str, Any]:
    """The batch of a call as tensors by name: "input/0", "mask", "output_gradient/0"."""
    found: dict[str, Any] = {}
    for i, value in enumerate(call.args):
        leaves = [t for t in tree_leaves(value) if isinstance(t, torch.Tensor)]
        for j, leaf in enumerate(leaves):
            found[f"input/{i}" if len(leaves) == 1 else f"input/{i}/{j}"] = leaf
    for name, value in call.kwargs.items():
        leaves = [t for t in tree_leaves(value) if isinstance(t, torch.Tensor)]
        for j, leaf in enumerate(leaves):
            found[name if len(leaves) == 1 else f"{name}/{j}"] = leaf
    for slot, gradient in sorted(call.gradients.items()):
        found[f"output_gradient/{slot}"] = gradient
    return found
