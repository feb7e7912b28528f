"""The largest eigenvalue of a loss' Hessian, by second derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.backends import cudnn
from torch.nn.attention import SDPBackend, sdpa_kernel

_ITERATIONS, _CLOSE = 40, 1e-3


def sharpness(parameters: list[Any], loss: Callable[[], Any], scale: dict[int, Any]) -> float:
    """Largest eigenvalue of P^-1/2 H P^-1/2 by power iteration on Hessian-vector products (Pearlmutter
    1994), at most 40 of them. scale: parameter id -> P, for those that have one.

    The fused kernels of attention have no second derivative, and cuDNN's recurrent ones neither: they are
    off meanwhile. Raises RuntimeError for others that have none, and ArithmeticError where a product is
    not finite.
    """
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), cudnn.flags(enabled=False):
        value = loss()
        gradients = torch.autograd.grad(value, parameters, create_graph=True, allow_unused=True)
    used = [
        (p, g)
        for p, g in zip(parameters, gradients, strict=True)
        if g is not None and g.requires_grad
    ]
    if not used:
        return 0.0
    _expect_second(used)
    roots = [scale[id(p)].rsqrt() if id(p) in scale else None for p, _ in used]
    generator = torch.Generator().manual_seed(0)
    vector = [torch.randn(p.shape, generator=generator, dtype=torch.float32).to(p) for p, _ in used]
    largest = 0.0
    for _ in range(_ITERATIONS):
        norm = torch.sqrt(sum((v.double() ** 2).sum() for v in vector))
        if not torch.isfinite(norm):
            raise ArithmeticError("a product with the Hessian is not finite")
        if float(norm) == 0.0:
            break
        vector = [v / norm.to(v) for v in vector]
        moved = [v if r is None else (v * r).to(v) for v, r in zip(vector, roots, strict=True)]
        product = torch.autograd.grad(
            [g for _, g in used], [p for p, _ in used], moved, retain_graph=True, allow_unused=True
        )
        found = [
            torch.zeros_like(v) if h is None else h for h, v in zip(product, vector, strict=True)
        ]
        found = [h if r is None else (h * r).to(h) for h, r in zip(found, roots, strict=True)]
        value = float(
            sum((h.double() * v.double()).sum() for h, v in zip(found, vector, strict=True))
        )
        if abs(value - largest) <= _CLOSE * abs(value):
            return abs(value)
        largest, vector = value, found
    return abs(largest)


def _expect_second(used: list[tuple[Any, Any]]) -> None:
    """Torch leaves out, without a word, what is marked ``once_differentiable``, where the weights lie behind
    it: raise instead.
    """
    seen: set[Any] = set()
    todo = [g.grad_fn for _, g in used]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        if node.name() == "torch::autograd::Error":
            raise RuntimeError("a function of the model can be differentiated only once")
        seen.add(node)
        todo += [following for following, _ in node.next_functions]
