"""Watches a backward pass node by node: where what is not finite in it began, and which leaves it reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from evengrad.adapters.torch.birth.heard import Beginning, figures
from evengrad.adapters.torch.birth.listen import Listener


class GraphWatch:
    """Hooks on every node between some tensors and the leaves, for one backward pass.

    Attributes:
        reached: (the leaf, where what is not finite in its gradient began), each as it comes.
    """

    def __init__(self, listener: Listener, roots: Sequence[Any]) -> None:
        self.reached: list[tuple[Any, Beginning]] = []
        self._listener = listener
        self._order = listener.next()
        self._arrived: dict[Any, Beginning] = {}
        self._handles: list[Any] = []
        for node in _nodes(roots):
            self._hook(node)

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def arrived(self, tensor: Any) -> Beginning | None:
        """Where the gradient of a tensor, made by ``autograd.grad``, became not finite."""
        return self._arrived.get(torch.autograd.graph.get_gradient_edge(tensor).node)

    def _hook(self, node: Any) -> None:
        if node.next_functions:
            self._handles.append(node.register_hook(partial(self._quietly, self._passed, node)))
        elif hasattr(node, "variable"):
            self._handles.append(node.register_prehook(partial(self._quietly, self._leaf, node)))

    def _quietly(self, work: Callable[..., None], *args: Any) -> None:
        """Nothing of ours changes or ends the script's backward pass."""
        try:
            with self._listener.deaf(), torch.no_grad():
                work(*args)
        except Exception as error:
            self._listener.trouble = self._listener.trouble or error

    def _passed(self, node: Any, outgoing: Any, incoming: Any) -> None:
        bad = [n for n, gradient in enumerate(outgoing) if _bad(gradient)]
        if not bad:
            return
        beginning = self._arrived.get(node) or self._begin(node, outgoing[bad[0]], incoming)
        for n in bad:
            self._arrived.setdefault(node.next_functions[n][0], beginning)

    def _begin(self, node: Any, gradient: Any, incoming: Any) -> Beginning:
        listener = self._listener
        found, call = figures(gradient), listener.makers.get(node)
        if call is not None and isinstance(call.function, type):  # the user's own Function.backward
            inside = [one for one in listener.recent if one.order > self._order]
            if inside:
                inside[-1].direction = "backward"
                return inside[-1]
        before = [o.born for o in call.operands if o.bad and o.born] if call is not None else []
        if before:  # its value is discarded by a mask, its gradient is not
            first = min(before, key=lambda one: one.order)
            first.hidden = True
            return first
        return Beginning(
            "backward",
            call,
            None,
            listener.next(),
            found.bad,
            found.nan,
            _discarded(gradient, incoming),
            found.dtype,
        )

    def _leaf(self, node: Any, incoming: Any) -> None:
        if _bad(incoming[0]) and (beginning := self._arrived.get(node)) is not None:
            self.reached.append((node.variable, beginning))


def _nodes(roots: Sequence[Any]) -> set[Any]:
    found: set[Any] = set()
    waiting = [torch.autograd.graph.get_gradient_edge(t).node for t in roots if t.requires_grad]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting += [before for before, _ in node.next_functions]
    return found


def _bad(gradient: Any) -> bool:
    if gradient is None or gradient.layout != torch.strided or gradient.is_meta:
        return False
    return not bool(torch.isfinite(gradient).all())


def _discarded(gradient: Any, incoming: Any) -> bool:
    """Whether what came in is 0 wherever what goes out is not finite."""
    came = next((one for one in incoming if one is not None), None)
    if came is None or not bool(torch.isfinite(came).all()):
        return False
    if came.shape == gradient.shape:
        came = came[~torch.isfinite(gradient)]
    return not bool(came.any())
