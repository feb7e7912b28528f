"""keras.ops, and the backend's own functions, by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from evengrad.adapters.keras.spec.attention import attention_operation
from evengrad.adapters.keras.spec.draft import (
    LayerDraft,
    LayerRule,
    RuleResult,
    TensorOperand,
    axes_of,
    axis_of,
)
from evengrad.adapters.keras.spec.functions import convolution, layer_norm, normalise, pool
from evengrad.adapters.keras.spec.moves import reduced, repeated, sliced, transposed
from evengrad.adapters.keras.spec.pointwise import binary
from evengrad.adapters.keras.spec.products import einsum, matmul, take
from evengrad.theory.activations import FUNCTIONS
from evengrad.values.spec import (
    Combine,
    Concatenate,
    Expand,
    Pad,
    Pointwise,
    Reduce,
    Reshape,
    Select,
    Shuffle,
    Slice,
    Softmax,
)


def _first(draft: LayerDraft) -> int:
    return draft.inputs[0]


def named(draft: LayerDraft) -> RuleResult:
    """A plain activation whose name says all."""
    name = draft.call.type
    if name == "gelu":
        approximate = draft.option("approximate", default=False)
        name = "gelu_tanh" if approximate in (True, "tanh") else "gelu"
    return draft.emit(Pointwise(name, FUNCTIONS[name]), _first(draft), shape=draft.out)


def softmax(draft: LayerDraft) -> RuleResult:
    """Softmax and log_softmax."""
    axis = draft.option("axis", "dim", at=1, default=-1)
    if not isinstance(axis, int):
        return draft.opaque("softmax over several axes")
    log = "log" in draft.call.type
    op = Softmax(axis_of(axis, draft.rank(_first(draft))), log)
    return draft.emit(op, _first(draft), shape=draft.out)


def reshape(draft: LayerDraft) -> RuleResult:
    """The same elements in the same order."""
    if np.prod(draft.shape(_first(draft))) != np.prod(draft.out):
        return draft.opaque("it does not keep the elements")
    return draft.emit(Reshape(), _first(draft), shape=draft.out)


def transpose(draft: LayerDraft) -> RuleResult:
    """transpose, swapaxes, moveaxis, permute."""
    x, rank = _first(draft), draft.rank(_first(draft))
    order = list(range(rank))
    word = draft.call.type
    if word in ("swapaxes", "swapdims") or (word == "transpose" and _torch_pair(draft)):
        pair = _torch_pair(draft) or (draft.owner.axis1, draft.owner.axis2)
        a, b = (axis_of(i, rank) for i in pair)
        order[a], order[b] = order[b], order[a]
    elif word in ("moveaxis", "movedim"):
        source = draft.option("source", at=1)
        target = draft.option("destination", at=2)
        order = _moved(rank, source, target)
    else:
        axes = draft.option("axes", "perm", "dims", at=1)
        if isinstance(axes, int):
            axes = [v for v in draft.call.args[1:] if isinstance(v, int)]
        order = [axis_of(a, rank) for a in axes] if axes is not None else order[::-1]
    return transposed(draft, x, order)


def _torch_pair(draft: LayerDraft) -> tuple[int, int] | None:
    numbers = [v for v in draft.call.args[1:] if isinstance(v, int)]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def _moved(rank: int, source: Any, target: Any) -> list[int]:
    sources = [axis_of(a, rank) for a in np.atleast_1d(source)]
    targets = [axis_of(a, rank) for a in np.atleast_1d(target)]
    order = [a for a in range(rank) if a not in sources]
    for t, s in sorted(zip(targets, sources, strict=True)):
        order.insert(t, s)
    return order


_REDUCTIONS = {
    "mean": "mean",
    "sum": "sum",
    "max": "max",
    "min": "min",
    "amax": "max",
    "amin": "min",
}


def reduction(draft: LayerDraft) -> RuleResult:
    """mean, sum, max, min."""
    if len(draft.inputs) > 1 or len(draft.call.outputs) > 1:
        return draft.opaque("not a plain reduction")
    word = draft.call.type.removeprefix("reduce_")
    axes = draft.option("axis", "dim", at=1)
    keep = bool(draft.option("keepdims", "keepdim", at=2, default=False))
    return reduced(draft, _REDUCTIONS[word], axes, keep)


def variance(draft: LayerDraft) -> RuleResult:
    """var, std, and moments (mean and variance): the mean of squared differences from the mean."""
    x, rank = _first(draft), draft.rank(_first(draft))
    axes = axes_of(draft.option("axis", "axes", at=1), rank)
    keep = bool(draft.option("keepdims", at=2, default=False))
    shape = draft.shape(x)
    line = [1 if a in axes else n for a, n in enumerate(shape)]
    mean = draft.emit(Reduce("mean", axes, True), x, shape=line)
    z = draft.emit(Combine("subtract", np.subtract), x, mean, shape=shape)
    z = draft.emit(Pointwise("square", np.square), z, shape=shape)
    z = draft.emit(Reduce("mean", axes, keep), z, shape=line if keep else _left(shape, axes))
    if draft.call.type == "std":
        z = draft.emit(Pointwise("sqrt", np.sqrt), z, shape=draft.shape(z))
    return [draft.reshaped(mean, draft.shape(z)), z] if draft.call.type == "moments" else z


def _left(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for a, n in enumerate(shape) if a not in axes)


def concatenate(draft: LayerDraft) -> RuleResult:
    """Concatenate, of tensors and constants."""
    axis = draft.option("axis", "dim", default=None)
    if axis is None:
        axis = next((v for v in draft.call.args[1:] if isinstance(v, int)), 0)
    parts = [v.number for v in draft.operands() if isinstance(v, TensorOperand)]
    axis = axis_of(axis, len(draft.out))
    if sum(draft.shape(p)[axis] for p in parts) != draft.out[axis]:
        return draft.opaque("parts of it are unknown")
    return draft.emit(Concatenate(axis), *parts, shape=draft.out)


def stack(draft: LayerDraft) -> RuleResult:
    """Along a new axis."""
    axis = draft.option("axis", "dim", default=None)
    if axis is None:
        axis = next((v for v in draft.call.args[1:] if isinstance(v, int)), 0)
    axis = axis_of(axis, len(draft.out))
    single = [1 if a == axis else n for a, n in enumerate(draft.out)]
    parts = [v.number for v in draft.operands() if isinstance(v, TensorOperand)]
    parts = [draft.emit(Reshape(), p, shape=single) for p in parts]
    return draft.emit(Concatenate(axis), *parts, shape=draft.out)


def split(draft: LayerDraft) -> RuleResult:
    """Into consecutive parts of one axis."""
    x, shapes = _first(draft), [tuple(int(n) for n in t.shape) for t in draft.call.outputs]
    axis = next((a for a, n in enumerate(draft.shape(x)) if n != shapes[0][a]), 0)
    ends = np.cumsum([s[axis] for s in shapes])
    parts = tuple((int(e) - s[axis], s[axis]) for e, s in zip(ends, shapes, strict=True))
    return draft.emit_all(Slice(axis, parts), [x], shapes)


def unstack(draft: LayerDraft) -> RuleResult:
    """Every index of an axis."""
    axis = axis_of(draft.option("axis", "dim", at=2, default=0) or 0, draft.rank(_first(draft)))
    shapes = [tuple(int(n) for n in t.shape) for t in draft.call.outputs]
    return draft.emit_all(Select(axis), [_first(draft)], shapes)


def get_item(draft: LayerDraft) -> RuleResult:
    """x[...] with integers, slices, None and an ellipsis."""
    z, key = _first(draft), draft.option("key", at=1)
    key = key if isinstance(key, tuple) else (key,)
    if not all(k is None or k is Ellipsis or isinstance(k, int | slice) for k in key):
        return draft.opaque("indexed by a tensor")
    shape = draft.shape(z)
    whole = slice(None)
    given = sum(k is not None and k is not Ellipsis for k in key)
    if Ellipsis in key:
        at = key.index(Ellipsis)
        key = (*key[:at], *[whole] * (len(shape) - given), *key[at + 1 :])
    axis = 0
    for k in key:
        if k is None:
            continue
        n = draft.shape(z)[axis]
        if isinstance(k, int):
            rest = draft.shape(z)
            z = draft.emit(Select(axis, k), z, shape=(*rest[:axis], *rest[axis + 1 :]))
            continue
        start, stop, step = k.indices(n)
        length = len(range(start, stop, step))
        if step < 0:
            z = draft.emit(Shuffle(), z, shape=draft.shape(z))
            start, step = n - 1 - start, -step
        if length != n:
            z = sliced(draft, z, axis, start, length, step)
        axis += 1
    return draft.reshaped(z, draft.out)


def pad(draft: LayerDraft) -> RuleResult:
    """keras.ops.pad; other modes copy elements."""
    widths = draft.option("pad_width", "paddings", at=1)
    if isinstance(widths, int):
        widths = [(widths, widths)]
    x = _first(draft)
    pairs = [tuple(int(n) for n in np.atleast_1d(w)) for w in widths]
    if len(pairs) == 1:
        pairs = pairs * draft.rank(x)
    if len(pairs) != draft.rank(x):
        return draft.opaque("its padding is not told axis by axis")
    both = [(p[0], p[-1]) for p in pairs]
    axes = tuple(a for a, p in enumerate(both) if p != (0, 0))
    value = draft.option("constant_values", default=0)
    wide = tuple(n + sum(w) for n, w in zip(draft.shape(x), both, strict=True))
    if wide != draft.out:
        return draft.opaque("its padding is not told axis by axis")
    zeros = draft.option("mode", default="constant").lower() == "constant" and not value
    return draft.emit(Pad(axes, tuple(both[a] for a in axes), zeros), x, shape=draft.out)


def expand(draft: LayerDraft) -> RuleResult:
    """broadcast_to."""
    return draft.emit(Expand(), _first(draft), shape=draft.out)


def repeat(draft: LayerDraft) -> RuleResult:
    """Repeat along an axis by one number."""
    count = draft.option("repeats", at=1)
    axis = draft.option("axis", at=2)
    if not isinstance(count, int | np.integer) or axis is None:
        return draft.opaque("repeats that differ")
    x = _first(draft)
    return repeated(draft, x, axis_of(axis, draft.rank(x)), int(count), whole=False)


def tile(draft: LayerDraft) -> RuleResult:
    """The whole tensor several times along axes."""
    z, counts = _first(draft), draft.option("repeats", "multiples", "dims", at=1)
    counts = [int(c) for c in np.atleast_1d(np.asarray(counts))]
    lead = max(len(counts) - draft.rank(z), 0)
    z = draft.reshaped(z, (1,) * lead + draft.shape(z))
    counts = [1] * (draft.rank(z) - len(counts)) + counts
    for axis, count in enumerate(counts):
        z = repeated(draft, z, axis, count, whole=True)
    return z


def shuffle(draft: LayerDraft) -> RuleResult:
    """flip, roll."""
    return draft.emit(Shuffle(), _first(draft), shape=draft.out)


def stopped(draft: LayerDraft) -> RuleResult:
    """No gradient goes through."""
    return draft.opaque("it stops the gradient")


def _table() -> dict[str, LayerRule]:
    words: dict[LayerRule, str] = {
        named: "relu relu6 sigmoid tanh silu gelu selu softplus softsign hard_sigmoid hard_tanh",
        softmax: "softmax log_softmax",
        reshape: (
            "reshape ravel flatten squeeze expand_dims unsqueeze view cast copy identity reshape_v2 squeeze_v2 "
            "expand_dims_v2 convert_to_tensor contiguous"
        ),
        transpose: "transpose swapaxes swapdims moveaxis movedim permute transpose_v2",
        reduction: "mean sum max min amax amin reduce_mean reduce_sum reduce_max reduce_min",
        variance: "var std moments",
        concatenate: "concatenate concat cat",
        stack: "stack",
        split: "split chunk",
        unstack: "unstack unbind",
        get_item: "get_item",
        pad: "pad",
        expand: "broadcast_to expand",
        repeat: "repeat",
        tile: "tile",
        shuffle: "flip roll",
        matmul: "matmul",
        einsum: "einsum",
        take: "take gather",
        convolution: "conv depthwise_conv",
        pool: "max_pool average_pool",
        normalise: "normalize",
        layer_norm: "layer_norm rmsnorm rms_norm",
        attention_operation: "dot_product_attention",
        stopped: "stop_gradient",
        binary: (
            "add subtract multiply divide true_divide truediv maximum minimum power sub mul div pow "
            "add_v2 addv2"
        ),
    }
    return {word: rule for rule, names in words.items() for word in names.split()}


OPERATIONS = _table()
