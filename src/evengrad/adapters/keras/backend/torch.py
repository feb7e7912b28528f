"""Gradients on PyTorch: by the tensors themselves, through ``torch.autograd.grad``, never ``.grad``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import torch
from torch.backends import cudnn
from torch.nn.attention import SDPBackend, sdpa_kernel

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.differentiate import ForwardRun, Gradients
from evengrad.adapters.keras.backend.native import call_symbolic


def differentiate(run: ForwardRun, weights: list[Any], others: list[Any], data: Any) -> Gradients:
    """As ``differentiate.differentiate``."""
    taps: dict[str, Any] = {}

    def tap(key: str, tensor: Any, fresh: bool = False) -> Any:
        if not tensor.requires_grad:
            tensor = tensor.detach().requires_grad_()
        elif fresh:
            tensor = tensor.view_as(tensor)
        taps[key] = tensor
        return tensor

    with torch.enable_grad():
        leaves = [w.detach().requires_grad_() for w in weights]
        value, kept = run(tap, leaves, [w.detach() for w in others], data)
        wanted = [*taps.values(), *leaves]
        found: Any = [None] * len(wanted)
        if value.requires_grad:
            found = torch.autograd.grad(value, wanted, allow_unused=True)
    dense = [g.to_dense() if g is not None and g.is_sparse else g for g in found]
    return Gradients(
        value.detach(),
        {key: tensor.detach() for key, tensor in kept.items()},
        dict(zip(taps, dense, strict=False)),
        dense[len(taps) :],
    )


def _untapped(_key: str, tensor: Any, _fresh: bool = False) -> Any:
    return tensor


def forward(run: ForwardRun, others: list[Any], data: Any) -> Any:
    """As ``differentiate.forward``."""
    state = torch.get_rng_state()  # Keras' dropout draws from it on PyTorch

    def at(weights: list[Any]) -> float:
        torch.set_rng_state(state)
        with torch.no_grad():
            return float(run(_untapped, weights, others, data)[0])

    return at


def curvature(run: ForwardRun, weights: list[Any], others: list[Any], data: Any) -> Any:
    """As ``differentiate.curvature``: the gradient differentiated again, without fused attention, which has
    no second derivative.
    """
    leaves = [w.detach().requires_grad_() for w in weights]
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), cudnn.flags(enabled=False):
        value, _ = run(_untapped, leaves, [w.detach() for w in others], data)
        first = torch.autograd.grad(value, leaves, create_graph=True, allow_unused=True)

    def product(vector: list[Any]) -> list[Any]:
        pairs = [
            (g, v) for g, v in zip(first, vector, strict=True) if g is not None and g.requires_grad
        ]
        found = torch.autograd.grad(
            [g for g, _ in pairs],
            leaves,
            [v for _, v in pairs],
            retain_graph=True,
            allow_unused=True,
        )
        return [torch.zeros_like(w) if h is None else h for h, w in zip(found, leaves, strict=True)]

    return product


@contextmanager
def isolated() -> Iterator[None]:
    """Put the random state back, and keep function modes of others from seeing our calls."""
    state = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        with compat.function_modes_off():
            yield
    finally:
        torch.set_rng_state(state)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


@contextmanager
def seen() -> Iterator[None]:
    """While it lasts, PyTorch's functions take symbolic tensors."""

    def torch_function(_: Any, function: Any, __: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call_symbolic(function, function.__name__, args, kwargs or {})

    with Patches() as patches:
        patches.put(keras.KerasTensor, "__torch_function__", classmethod(torch_function))
        yield


def placeholder(variable: Any) -> Any:
    """A parameter of the meta device, with the variable's shape and dtype."""
    dtype = compat.torch_dtype(variable.dtype)
    empty = torch.empty(tuple(variable.shape), dtype=dtype, device="meta")
    return torch.nn.Parameter(empty, requires_grad=bool(variable.trainable))
