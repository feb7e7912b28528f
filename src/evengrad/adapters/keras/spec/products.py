"""Products of tensors, and of tensors with weights, among keras.ops."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.spec.draft import LayerDraft, RuleResult
from evengrad.adapters.keras.spec.laws import measured
from evengrad.adapters.keras.spec.linear import by_equation, spelled
from evengrad.adapters.keras.trace.trace import symbolic
from evengrad.values.spec import Dense, Einsum, Embedding, Law, Transpose


def weight_law(value: Any, draft: LayerDraft) -> Law | None:
    """Of a variable or a constant array; None for a tensor."""
    if symbolic(value):
        return None
    if isinstance(value, compat.Variable):
        return draft.table.law(value)
    return measured(np.asarray(keras.ops.convert_to_numpy(value)))


def matmul(draft: LayerDraft) -> RuleResult:
    """Of two tensors, or of one and weights."""
    flat = [
        v for v in keras.tree.flatten((draft.call.args, draft.call.kwargs)) if hasattr(v, "shape")
    ]
    if len(flat) != 2 or any(draft.call.kwargs.get(k) for k in ("transpose_a", "adjoint_a")):
        return draft.opaque("a product of other than two operands")
    left, right = flat
    flip = bool(draft.call.kwargs.get("transpose_b") or draft.call.kwargs.get("adjoint_b"))
    weight = weight_law(right, draft)
    if weight is not None and len(right.shape) <= 2 and symbolic(left):
        x = draft.table.number(left)
        last = (draft.rank(x) - 1,)
        return draft.emit(
            Dense(weight, None, last, last if len(right.shape) == 2 else ()), x, shape=draft.out
        )
    a, b = (draft.operand(v).number for v in flat)
    if min(draft.rank(a), draft.rank(b)) < 2:
        return draft.opaque("a product with a vector")
    return draft.emit(
        Einsum(_matmul_letters(draft.shape(a), draft.shape(b), flip)), a, b, shape=draft.out
    )


def _matmul_letters(a: tuple[int, ...], b: tuple[int, ...], flip: bool) -> str:
    """Such as bhij,bhjk->bhik; axes of length 1 that are broadcast have letters of their own."""
    count = max(len(a), len(b)) - 2
    batch, own = "abcdefgh"[:count], iter("stuvwxyz")
    left, right = list(batch[count - len(a) + 2 :]), list(batch[count - len(b) + 2 :])
    for i in range(1, min(len(left), len(right)) + 1):
        if a[-2 - i] != b[-2 - i]:
            (left if a[-2 - i] == 1 else right)[-i] = next(own)
    last = "kj" if flip else "jk"
    return f"{''.join(left)}ij,{''.join(right)}{last}->{batch}ik"


def einsum(draft: LayerDraft) -> RuleResult:
    """Of two tensors, of one and weights, or of one alone."""
    equation = draft.option("subscripts", "equation")
    operands = list(draft.call.args)
    if equation is None:
        equation, operands = operands[0], operands[1:]
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = list(operands[0])
    equation = equation.replace(" ", "")
    if len(operands) == 1 and "->" in equation and "." not in equation:
        return _single(draft, equation)
    if len(operands) != 2 or "->" not in equation:
        return draft.opaque(f"einsum {equation}")
    weights = [weight_law(v, draft) for v in operands]
    if weights[0] is not None:
        left, right = equation.split("->")[0].split(",")
        equation = f"{right},{left}->{equation.split('->')[1]}"
        operands, weights = operands[::-1], weights[::-1]
    if weights[1] is not None:
        return by_equation(draft, draft.table.number(operands[0]), equation, weights[1], None)
    a, b = (draft.table.number(v) for v in operands)
    if "..." in equation:
        left, right = equation.split("->")[0].split(",")
        first, _, result = spelled(equation, draft.rank(a))
        if "..." in right and draft.rank(b) != len(right) - 3 + len(first) - len(left) + 3:
            return draft.opaque(f"einsum {equation}")
        dots = "".join(c for c in first if c not in left)
        equation = f"{first},{right.replace('...', dots)}->{result}"
    return draft.emit(
        Einsum(_own_letters(equation, draft.shape(a), draft.shape(b))), a, b, shape=draft.out
    )


def _own_letters(equation: str, a: tuple[int, ...], b: tuple[int, ...]) -> str:
    """A letter of its own for each axis of length 1 that is broadcast."""
    both, result = equation.split("->")
    left, right = (list(part) for part in both.split(","))
    free = iter(c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation)
    for i, c in enumerate(left):
        if c in right and a[i] != b[right.index(c)]:
            j = right.index(c)
            if a[i] == 1:
                left[i] = next(free)
            else:
                right[j] = next(free)
    return f"{''.join(left)},{''.join(right)}->{result}"


def _single(draft: LayerDraft, equation: str) -> RuleResult:
    source, result = equation.split("->")
    if sorted(source) == sorted(result):
        return draft.emit(
            Transpose(tuple(source.index(c) for c in result)), draft.inputs[0], shape=draft.out
        )
    return draft.opaque(f"einsum {equation}")


def take(draft: LayerDraft) -> RuleResult:
    """Rows of weights by integers."""
    table = draft.call.args[0] if draft.call.args else None
    axis = draft.option("axis", at=2)
    law = weight_law(table, draft) if hasattr(table, "shape") else None
    if (
        table is None
        or law is None
        or axis not in (0, None)
        or len(table.shape) != 2
        or not draft.inputs
    ):
        return draft.opaque("elements chosen by a tensor")
    return draft.emit(Embedding(law), draft.inputs[0], shape=draft.out)
