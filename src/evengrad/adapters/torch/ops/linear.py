"""Convolutions, dense layers, products, normalisation, attention, as operations of a spec."""

from __future__ import annotations

import math
from typing import Any

import torch

from evengrad.adapters.torch.laws.laws import kernel_law, measured_kernel
from evengrad.adapters.torch.ops.draft import (
    DraftedCall,
    Operand,
    OperationDraft,
    axis,
    law_of,
    tuple_of,
)
from evengrad.values.spec import (
    Attention,
    Combine,
    Convolution,
    Dense,
    Einsum,
    Embedding,
    Law,
    Normalise,
    Opaque,
    Pointwise,
    Softmax,
)


def linear(call: DraftedCall) -> OperationDraft:
    weight, bias = call.option(1, "weight"), call.option(2, "bias")
    x = call.option(0, "input")
    last = len(x.shape) - 1
    return OperationDraft(Dense(weight.constant(), law_of(bias), (last,), (last,)), [x])


def matmul(call: DraftedCall) -> OperationDraft:
    left, right = call.operands()[:2]
    if call.name == "rmatmul":
        left, right = right, left
    return product(call, left, right, None)


def addmm(call: DraftedCall) -> OperationDraft:
    bias, left, right = call.operands()[:3]
    if left.number is not None and right.number is None and bias.number is None:
        return product(call, left, right, bias.constant())
    return OperationDraft(Opaque(f"{call.name} of activations"), call.data())


def baddbmm(call: DraftedCall) -> OperationDraft:
    """Beta b + alpha x y, as in attention with a bias."""
    bias, left, right = call.operands()[:3]
    inner = product(call, left, right, None)
    if not isinstance(inner.op, Einsum) or inner.operands != [left, right]:
        return OperationDraft(Opaque(f"{call.name} with a weight"), call.data())
    alpha, beta = float(call.option(4, "alpha", 1)), float(call.option(3, "beta", 1))
    steps: list[Any] = [
        (inner.op, [("in", 0), ("in", 1)], call.out),
        (Pointwise("multiply", lambda z: alpha * z), [("step", 0)], call.out),
    ]
    if beta == 0 or (bias.number is None and bias.constant().rms == 0):
        return OperationDraft(None, [left, right], steps)
    steps.append((Combine("add", lambda a, b: a + beta * b), [("step", 1), ("in", 2)], call.out))
    return OperationDraft(None, [left, right, bias], steps)


def product(call: DraftedCall, left: Operand, right: Operand, bias: Law | None) -> OperationDraft:
    """A matrix product with a weight or of two activations."""
    if left.number is not None and right.number is None and len(right.shape) == 2:
        last = len(left.shape) - 1
        return OperationDraft(Dense(right.constant(), bias, (last,), (last,)), [left])
    if right.number is not None and left.number is None and len(left.shape) == 2:
        row = max(len(right.shape) - 2, 0)
        return OperationDraft(Dense(left.constant(), bias, (row,), (row,)), [right])
    if len(left.shape) < 2 or len(right.shape) < 2:
        return OperationDraft(Opaque(f"{call.name} with a vector"), call.data())
    lead = max(len(left.shape), len(right.shape)) - 2
    first, second = _lead(left.shape, lead, "abcdefg"), _lead(right.shape, lead, "abcdefg")
    for i, (p, q) in enumerate(zip(left.shape[:-2][::-1], right.shape[:-2][::-1], strict=False)):
        if p != q:  # one of them is broadcast: a letter of its own
            place = len(second if q == 1 else first) - 1 - i
            if q == 1:
                second = second[:place] + "ABCDEFG"[i] + second[place + 1 :]
            else:
                first = first[:place] + "ABCDEFG"[i] + first[place + 1 :]
    whole = "abcdefg"[:lead]
    return OperationDraft(Einsum(f"{first}ij,{second}jk->{whole}ik"), [left, right])


def _lead(shape: tuple[int, ...], lead: int, letters: str) -> str:
    return letters[lead - (len(shape) - 2) : lead]


def einsum(call: DraftedCall) -> OperationDraft:
    equation = call.args[0].replace(" ", "") if isinstance(call.args[0], str) else ""
    operands = call.operands()
    if "->" not in equation or "." in equation or len(operands) != 2:
        return OperationDraft(Opaque("this form of einsum"), call.data())
    inputs, output = equation.split("->")
    words = inputs.split(",")
    if all(o.number is not None for o in operands):
        return OperationDraft(Einsum(equation), operands)
    w = 0 if operands[0].number is None else 1
    x, weight = words[1 - w], words[w]
    summed = [c for c in x if c not in output]
    shared = [c for c in weight if c in x and c in output]
    in_order = [c for c in output if c in x] == [c for c in x if c in output]
    if shared or not summed or not in_order:
        return OperationDraft(Einsum(equation), operands)
    reads = tuple(x.index(c) for c in summed)
    makes = tuple(output.index(c) for c in output if c not in x)
    return OperationDraft(Dense(operands[w].constant(), None, reads, makes), [operands[1 - w]])


def convolution(call: DraftedCall) -> OperationDraft:
    x, weight = call.option(0, "input"), call.option(1, "weight")
    transposed = "transpose" in call.name
    nd = len(weight.shape) - 2
    channels = len(x.shape) - nd - 1
    stride = tuple_of(call.option(3, "stride", 1), nd)
    dilation = tuple_of(call.option(7 if transposed else 5, "dilation", 1), nd)
    groups = int(call.option(6, "groups", 1))
    padding = call.option(4, "padding", 0)
    kernel = tuple(weight.shape[2:])
    if padding == "same":
        whole = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        pads = tuple((w // 2, w - w // 2) for w in whole)
    else:
        pads = tuple((p, p) for p in tuple_of(0 if padding == "valid" else padding, nd))
    law = weight.constant()
    if weight.kernel is not None:
        law = kernel_law(weight.values, law, weight.kernel)
    elif weight.values is not None:
        law = measured_kernel(weight.values, law)
    op = Convolution(
        law,
        law_of(call.option(2, "bias")),
        channels,
        tuple(range(channels + 1, channels + 1 + nd)),
        kernel,
        stride,
        dilation,
        pads,
        groups,
        transposed,
    )
    return OperationDraft(op, [x])


def embedding(call: DraftedCall) -> OperationDraft:
    weight = call.option(1, "weight")
    if not isinstance(weight, Operand) or weight.number is not None:
        return OperationDraft(Opaque("an embedding by activations"), call.data())
    return OperationDraft(Embedding(weight.constant()), [])


def lookup(call: DraftedCall) -> OperationDraft:
    """Rows of a parameter by integers: table[ids]."""
    table = call.args[0]
    index = [o for o in call.operands() if o is not table]
    if table.number is not None or len(index) != 1 or index[0].tensor.is_floating_point():
        return OperationDraft(Opaque("an index by tensors"), call.data())
    if call.out != (*index[0].shape, *table.shape[1:]) or len(table.shape) != 2:
        return OperationDraft(Opaque("rows of a weight with other than two axes"), [])
    return OperationDraft(Embedding(table.constant()), [])


# --- normalisation --------------------------------------------------------------------------------


def batch_norm(call: DraftedCall) -> OperationDraft:
    x = call.option(0, "input")
    mean, variance = call.option(1, "running_mean"), call.option(2, "running_var")
    weight, bias = law_of(call.option(3, "weight")), law_of(call.option(4, "bias"))
    training = call.option(5, "training", False)
    epsilon = float(call.option(7, "eps", 1e-5))
    axes = tuple(a for a in range(len(x.shape)) if a != 1)
    if training or not isinstance(variance, Operand):
        return OperationDraft(Normalise(axes, True, epsilon, weight, bias), [x])
    scale = 1 / math.sqrt(variance.constant().mean + epsilon) * (weight.mean if weight else 1.0)
    shift = mean.constant().mean
    return OperationDraft(Pointwise("batch_norm", lambda z: (z - shift) * scale), [x])


def layer_norm(call: DraftedCall) -> OperationDraft:
    x, shape = call.option(0, "input"), call.option(1, "normalized_shape")
    count = len(shape) if isinstance(shape, list | tuple | torch.Size) else 1
    axes = tuple(range(len(x.shape) - count, len(x.shape)))
    weight = law_of(call.option(2, "weight"))
    if call.name == "rms_norm":
        return OperationDraft(
            Normalise(axes, False, float(call.option(3, "eps") or 1e-7), weight), [x]
        )
    bias, epsilon = law_of(call.option(3, "bias")), float(call.option(4, "eps", 1e-5))
    return OperationDraft(Normalise(axes, True, epsilon, weight, bias), [x])


def group_norm(call: DraftedCall) -> OperationDraft:
    x, groups = call.option(0, "input"), int(call.option(1, "num_groups"))
    weight, bias = law_of(call.option(2, "weight")), law_of(call.option(3, "bias"))
    axes = (1, *range(2, len(x.shape)))
    epsilon = float(call.option(4, "eps", 1e-5))
    if groups == 1:
        return OperationDraft(Normalise(axes, True, epsilon, weight, bias), [x])
    return OperationDraft(Normalise(axes[1:], True, epsilon, weight, bias, groups, 1), [x])


def instance_norm(call: DraftedCall) -> OperationDraft:
    x = call.option(0, "input")
    weight, bias = law_of(call.option(3, "weight")), law_of(call.option(4, "bias"))
    axes = tuple(range(2, len(x.shape)))
    return OperationDraft(
        Normalise(axes, True, float(call.option(7, "eps", 1e-5)), weight, bias), [x]
    )


def normalize(call: DraftedCall) -> OperationDraft:
    """To length 1: rms normalisation times 1 / sqrt(n)."""
    x = call.option(0, "input")
    along = axis(call.option(2, "dim", 1), len(x.shape))
    if float(call.option(1, "p", 2.0)) != 2.0:
        return OperationDraft(Opaque("normalize by another norm"), [x])
    root = x.shape[along] ** -0.5
    return OperationDraft(Normalise((along,), False, 1e-12, Law(root, root, "constant")), [x])


def softmax(call: DraftedCall) -> OperationDraft:
    x = call.x
    along = call.option(1, "dim", -1)
    along = axis(-1 if along is None else along, len(x.shape))
    return OperationDraft(Softmax(along, log=call.name == "log_softmax"), [x])


def attention(call: DraftedCall) -> OperationDraft:
    """A mask with a row for each token counts as causal where it hides what comes later."""
    q, key, value = (call.option(i, n) for i, n in enumerate(("query", "key", "value")))
    mask = call.option(3, "attn_mask")
    causal = bool(call.option(5, "is_causal", False)) or is_causal(mask)
    scale = call.option(6, "scale")
    dropout = float(call.option(4, "dropout_p", 0.0))
    op = Attention(causal, None if scale is None else float(scale), dropout)
    return OperationDraft(op, [q, key, value])


def is_causal(mask: Any) -> bool:
    """Whether a mask hides from each token what comes after it; without values: if it is square."""
    if not isinstance(mask, Operand) or len(mask.shape) < 2 or mask.shape[-2] != mask.shape[-1]:
        return False
    if mask.shape[-1] == 1:
        return False
    if mask.values is None:
        return not mask.tensor.requires_grad  # a bias of relative positions is trained
    last = mask.values.reshape(-1, *mask.shape[-2:])[0]
    hidden = ~last if last.dtype == torch.bool else last < -1e4
    return bool(hidden[0, 1:].all()) and not bool(hidden[-1].any())


LOOKUPS = {"embedding", "getitem", "index_select"}
LINEAR = {
    "linear": linear,
    **dict.fromkeys(("matmul", "mm", "bmm", "rmatmul"), matmul),
    "addmm": addmm,
    "baddbmm": baddbmm,
    "einsum": einsum,
    **{f"conv{n}d": convolution for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": convolution for n in (1, 2, 3)},
    "embedding": embedding,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "rms_norm": layer_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "normalize": normalize,
    "softmax": softmax,
    "log_softmax": softmax,
    "scaled_dot_product_attention": attention,
}
