"""Modules that count as one operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from evengrad.adapters.torch.ops.draft import Operand, OperationDraft
from evengrad.adapters.torch.ops.linear import is_causal
from evengrad.values.spec import Attention, Dense, Law, Opaque, Reshape, Transpose

CompositeSteps = list[tuple[Any, list[tuple[str, int]], tuple[int, ...]]]


def draft_module(module: Any, args: Any, kwargs: Any, law: Callable[[Any], Law]) -> OperationDraft:
    """Of a module that is not looked into. args, kwargs: with Operands for tensors."""
    operands = [v for v in [*args, *kwargs.values()] if isinstance(v, Operand)]
    data = [o for o in operands if o.number is not None]
    if isinstance(module, nn.MultiheadAttention):
        names = ("query", "key", "value")
        three = [args[i] if len(args) > i else kwargs.get(n) for i, n in enumerate(names)]
        if all(isinstance(o, Operand) and len(o.shape) == 3 for o in three):
            place = kwargs.get("attn_mask", args[5] if len(args) > 5 else None)
            return _attention(module, three, law, bool(kwargs.get("is_causal")) or is_causal(place))
    return OperationDraft(Opaque(f"{type(module).__name__} is not looked into"), data)


def _attention(
    module: Any, three: list[Any], law: Callable[[Any], Law], causal: bool
) -> OperationDraft:
    """In, heads apart, softmax(q k^T) v, heads together, out."""
    heads = module.num_heads
    projections = [
        getattr(module, n, None) for n in ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    ]
    if module.in_proj_weight is not None:
        projections = [module.in_proj_weight] * 3
    bias = None if module.in_proj_bias is None else law(module.in_proj_bias)
    order = (0, 2, 1, 3) if module.batch_first else (1, 2, 0, 3)
    steps: CompositeSteps = []
    apart = []
    for i, (operand, weight) in enumerate(zip(three, projections, strict=True)):
        a, b, _ = operand.shape
        inner = (a, b, heads, module.embed_dim // heads)
        steps.append((Dense(law(weight), bias, (2,), (2,)), [("in", i)], (a, b, module.embed_dim)))
        steps.append((Reshape(), [("step", len(steps) - 1)], inner))
        moved = tuple(inner[j] for j in order)
        steps.append((Transpose(order), [("step", len(steps) - 1)], moved))
        apart.append(("step", len(steps) - 1))
    shape = steps[2][2]
    steps.append((Attention(causal, None, float(module.dropout)), apart, shape))
    back = tuple(order.index(i) for i in range(4))
    together = tuple(shape[j] for j in back)
    whole = (together[0], together[1], module.embed_dim)
    out = module.out_proj
    end = Dense(law(out.weight), None if out.bias is None else law(out.bias), (2,), (2,))
    steps.append((Transpose(back), [("step", len(steps) - 1)], together))
    steps.append((Reshape(), [("step", len(steps) - 1)], whole))
    steps.append((end, [("step", len(steps) - 1)], whole))
    return OperationDraft(None, three, steps)
