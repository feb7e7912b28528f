"""Calls that move, pool, drop or join elements, as operations of a spec."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from evengrad.adapters.torch.ops.draft import (
    IDENTITY,
    DraftedCall,
    Operand,
    OperationDraft,
    axis,
    chained,
    tuple_of,
)
from evengrad.theory.activations import FUNCTIONS
from evengrad.values.spec import (
    Combine,
    Concatenate,
    Dropout,
    Expand,
    Opaque,
    Pad,
    Pointwise,
    Pool,
    Reduce,
    Reshape,
    Select,
    Shape,
    Shuffle,
    Slice,
    Transpose,
    Upsample,
)


def reshape(call: DraftedCall) -> OperationDraft:
    if math.prod(call.x.shape) != math.prod(call.out):
        return OperationDraft(Opaque(f"{call.name} with another number of elements"), call.data())
    return OperationDraft(Reshape(), [call.x])


def identity(call: DraftedCall) -> OperationDraft:
    return OperationDraft(IDENTITY, [call.x]) if call.x.shape == call.out else reshape(call)


def transpose(call: DraftedCall) -> OperationDraft:
    x, n = call.x, len(call.x.shape)
    order = list(range(n))
    name = call.name
    if name == "permute":
        dims = call.option(1, "dims")
        dims = dims if isinstance(dims, list | tuple) else call.args[1:]
        order = [axis(d, n) for d in dims]
    elif name in ("movedim", "moveaxis"):
        start, end = call.option(1, "source"), call.option(2, "destination")
        if not isinstance(start, int):
            return OperationDraft(Opaque("movedim of several axes"), [x])
        order.insert(axis(end, n), order.pop(axis(start, n)))
    else:
        first, second = call.option(1, "dim0", -2), call.option(2, "dim1", -1)
        if name in ("T", "H"):
            order = order[::-1]
        elif n >= 2:
            i, j = axis(first, n), axis(second, n)
            order[i], order[j] = order[j], order[i]
    return OperationDraft(Transpose(tuple(order)), [x])


def expand(call: DraftedCall) -> OperationDraft:
    x = call.x
    wide = (1,) * (len(call.out) - len(x.shape)) + x.shape
    if all(a in (1, b) for a, b in zip(wide, call.out, strict=True)):
        return OperationDraft(Expand(), [x])
    grown = tuple(i for i, (a, b) in enumerate(zip(wide, call.out, strict=True)) if a != b)
    return chained(x, [(Reshape(), wide), (Upsample(grown), call.out)])


def shuffle(call: DraftedCall) -> OperationDraft:
    return OperationDraft(Shuffle(), [call.x])


def pixel_shuffle(call: DraftedCall) -> OperationDraft:
    x, out = call.x, call.out
    *lead, c, h, w = x.shape
    *_, c2, h2, _ = out
    n = len(lead)
    if call.name == "pixel_shuffle":
        r = h2 // h
        inner: Shape = (*lead, c2, r, r, h, w)
        order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    else:
        r = h // h2
        inner = (*lead, c, h // r, r, w // r, r)
        order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
    moved = tuple(inner[i] for i in order)
    return chained(x, [(Reshape(), inner), (Transpose(tuple(order)), moved), (Reshape(), out)])


def pad(call: DraftedCall) -> OperationDraft:
    x, width = call.x, list(call.option(1, "pad"))
    mode = call.option(2, "mode", "constant")
    n = len(x.shape)
    axes = tuple(n - 1 - i for i in range(len(width) // 2))
    pads = tuple((int(a), int(b)) for a, b in zip(width[::2], width[1::2], strict=True))
    return OperationDraft(Pad(axes, pads, zeros=mode == "constant"), [x])


def upsample(call: DraftedCall) -> OperationDraft:
    x = call.x
    spatial = tuple(range(2, len(x.shape)))
    if any(call.out[a] < x.shape[a] for a in spatial):
        return OperationDraft(Opaque("an interpolation to fewer places"), [x])
    return OperationDraft(
        Upsample(spatial, smooth=call.option(3, "mode", "nearest") != "nearest"), [x]
    )


# --- joining and cutting --------------------------------------------------------------------------


def concatenate(call: DraftedCall) -> OperationDraft:
    parts = call.operands()
    along = call.option(1, "dim", 0)
    if not isinstance(along, int):
        along = 0
    if call.name.startswith("stack"):
        place = axis(along, len(call.out))
        wide = [(*p.shape[:place], 1, *p.shape[place:]) for p in parts]
        steps: list[Any] = [(Reshape(), [("in", i)], s) for i, s in enumerate(wide)]
        steps.append((Concatenate(place), [("step", i) for i in range(len(parts))], call.out))
        return OperationDraft(None, parts, steps)
    parts = [p for p in parts if len(p.shape) == len(call.out)]
    return OperationDraft(Concatenate(axis(along, len(call.out))), parts)


def split(call: DraftedCall) -> OperationDraft:
    x = call.x
    along = axis(call.option(2, "dim", 0), len(x.shape))
    start, parts = 0, []
    for shape in call.outputs:
        parts.append((start, shape[along]))
        start += shape[along]
    return OperationDraft(Slice(along, tuple(parts)), [x])


def unbind(call: DraftedCall) -> OperationDraft:
    return OperationDraft(Select(axis(call.option(1, "dim", 0), len(call.x.shape))), [call.x])


def narrow(call: DraftedCall) -> OperationDraft:
    x = call.x
    along = axis(call.option(1, "dim", 0), len(x.shape))
    if call.name == "select":
        return OperationDraft(Select(along, call.option(2, "index")), [x])
    start = call.option(2, "start", 0)
    if not isinstance(start, int):
        return OperationDraft(Opaque(f"{call.name} by a tensor"), [x])
    return OperationDraft(Slice(along, ((start, call.out[along]),)), [x])


def getitem(call: DraftedCall) -> OperationDraft:
    x, index = call.args[0], call.args[1]
    parts = list(index) if isinstance(index, tuple) else [index]
    if any(not isinstance(p, int | slice) and p is not None and p is not Ellipsis for p in parts):
        return OperationDraft(Opaque("an index by tensors"), call.data())
    named = sum(p is not None and p is not Ellipsis for p in parts)
    if Ellipsis in parts:
        place = parts.index(Ellipsis)
        parts[place : place + 1] = [slice(None)] * (len(x.shape) - named)
    steps: list[tuple[Any, Shape]] = []
    shape, at = list(x.shape), 0
    for part in parts:
        if part is None:
            shape.insert(at, 1)
            steps.append((Reshape(), tuple(shape)))
            at += 1
        elif isinstance(part, int):
            del shape[at]
            steps.append((Select(at, part), tuple(shape)))
        else:
            low, high, step = part.indices(shape[at])
            count = len(range(low, high, step))
            if count != shape[at]:
                shape[at] = count
                steps.append((Slice(at, ((low, count),), step), tuple(shape)))
            at += 1
    return chained(x, steps or [(IDENTITY, x.shape)])


# --- pooling, dropout -----------------------------------------------------------------------------


def pool(call: DraftedCall) -> OperationDraft:
    x = call.x
    nd = next((n for n in (1, 2, 3) if f"{n}d" in call.name), 2)
    spatial = tuple(range(len(x.shape) - nd, len(x.shape)))
    what: Any = "max" if "max" in call.name else "average"
    if "adaptive" in call.name:
        return _adaptive(call, spatial, what)
    kernel = tuple_of(call.option(1, "kernel_size"), nd)
    stride = call.option(2, "stride")
    stride = kernel if stride in (None, [], ()) else tuple_of(stride, nd)
    pads = tuple((p, p) for p in tuple_of(call.option(3, "padding", 0), nd))
    dilation = tuple_of(call.option(4, "dilation", 1), nd) if what == "max" else (1,) * nd
    counted = bool(call.option(5, "count_include_pad", True)) and what == "average"
    return OperationDraft(Pool(what, spatial, kernel, stride, pads, dilation, counted), [x])


def _adaptive(call: DraftedCall, spatial: tuple[int, ...], what: Any) -> OperationDraft:
    x, out = call.x, call.out
    if all(out[a] == 1 for a in spatial):
        return OperationDraft(Reduce("max" if what == "max" else "mean", spatial, True), [x])
    if any(x.shape[a] % out[a] for a in spatial):
        return OperationDraft(Opaque("adaptive pooling by uneven windows"), [x])
    kernel = tuple(x.shape[a] // out[a] for a in spatial)
    none = ((0, 0),) * len(kernel)
    return OperationDraft(Pool(what, spatial, kernel, kernel, none, (1,) * len(kernel)), [x])


def reduce(call: DraftedCall) -> OperationDraft:
    x, n = call.x, len(call.x.shape)
    dims = call.option(1, "dim")
    if isinstance(dims, Operand):
        return OperationDraft(Opaque(f"{call.name} of two tensors"), call.data())
    dims = tuple(range(n)) if dims is None or dims == [] else dims
    axes = tuple(axis(d, n) for d in (dims if isinstance(dims, list | tuple) else [dims]))
    keep = bool(call.option(2, "keepdim", False))
    what = {"amax": "max", "amin": "min"}.get(call.name, call.name)
    return OperationDraft(Reduce(what, axes, keep), [x])  # type: ignore[arg-type]


def norm(call: DraftedCall) -> OperationDraft:
    """The root of a sum of squares along some axes."""
    x, n = call.x, len(call.x.shape)
    order = call.option(1, "p" if call.name == "norm" else "ord", 2)
    dims = call.option(2, "dim")
    keep = bool(call.option(3, "keepdim", False))
    if isinstance(order, Operand) or order not in (2, 2.0, "fro", None):
        return OperationDraft(Opaque(f"{call.name} of order {order}"), [x])
    axes = tuple(range(n)) if dims is None else tuple(axis(d, n) for d in _listed(dims))
    steps = [
        (Pointwise("square", np.square), x.shape),
        (Reduce("sum", axes, keep), call.out),
        (Pointwise("sqrt", np.sqrt), call.out),
    ]
    return chained(x, steps)


def deviation(call: DraftedCall) -> OperationDraft:
    """Variance or standard deviation: the mean square of what differs from the mean."""
    x, n = call.x, len(call.x.shape)
    dims = call.option(1, "dim")
    if isinstance(dims, bool):
        return OperationDraft(Opaque(f"this form of {call.name}"), [x])
    taken = call.option(2, "unbiased", call.kwargs.get("correction", 1))
    axes = tuple(range(n)) if dims is None else tuple(axis(d, n) for d in _listed(dims))
    count = math.prod(x.shape[a] for a in axes)
    factor = count / max(count - int(1 if taken is None else taken), 1)
    one = tuple(1 if i in axes else s for i, s in enumerate(x.shape))
    keep = bool(call.option(3, "keepdim", False))
    steps: list[Any] = [
        (Reduce("mean", axes, True), [("in", 0)], one),
        (Combine("subtract", lambda a, b: a - b), [("in", 0), ("step", 0)], x.shape),
        (Pointwise("square", np.square), [("step", 1)], x.shape),
        (Reduce("mean", axes, keep), [("step", 2)], call.out),
        (Pointwise("multiply", lambda z: factor * z), [("step", 3)], call.out),
    ]
    if call.name == "std":
        steps.append((Pointwise("sqrt", np.sqrt), [("step", 4)], call.out))
    return OperationDraft(None, [x], steps)


def _listed(dims: Any) -> Any:
    return dims if isinstance(dims, list | tuple) else [dims]


def dropout(call: DraftedCall) -> OperationDraft:
    x = call.x
    rate = float(call.option(1, "p", 0.5)) if call.option(2, "training", True) else 0.0
    if "alpha" in call.name:
        return (
            OperationDraft(Opaque("alpha dropout"), [x]) if rate else OperationDraft(IDENTITY, [x])
        )
    whole = call.name != "dropout"  # dropout2d, feature_dropout: channels
    shared = tuple(range(2, len(x.shape))) if whole else ()
    return OperationDraft(Dropout(rate, shared), [x])


def glu(call: DraftedCall) -> OperationDraft:
    x, out = call.x, call.out
    along = axis(call.option(1, "dim", -1), len(x.shape))
    n = out[along]
    steps: list[Any] = [
        (Slice(along, ((0, n),)), [("in", 0)], out),
        (Slice(along, ((n, n),)), [("in", 0)], out),
        (Pointwise("sigmoid", FUNCTIONS["sigmoid"]), [("step", 1)], out),
        (Combine("multiply", lambda a, b: a * b), [("step", 0), ("step", 2)], out),
    ]
    return OperationDraft(None, [x], steps)


_SAME = (
    "to float double half bfloat16 type type_as cpu cuda contiguous clone masked_fill where tril triu "
    "view_as_real real positive alias"
)
_SHAPED = "view view_as reshape reshape_as flatten unflatten squeeze unsqueeze ravel atleast_2d"

MOVES = {
    **dict.fromkeys(_SAME.split(), identity),
    **dict.fromkeys(_SHAPED.split(), reshape),
    **dict.fromkeys(
        ("permute", "transpose", "swapaxes", "swapdims", "t", "T", "mT", "movedim", "moveaxis"),
        transpose,
    ),
    **dict.fromkeys(("expand", "expand_as", "repeat", "tile", "repeat_interleave"), expand),
    **dict.fromkeys(("roll", "flip", "channel_shuffle", "native_channel_shuffle"), shuffle),
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), pixel_shuffle),
    "pad": pad,
    **dict.fromkeys(("interpolate", "upsample"), upsample),
    **dict.fromkeys(("cat", "concat", "concatenate", "stack"), concatenate),
    **dict.fromkeys(("chunk", "split", "tensor_split", "split_with_sizes"), split),
    "unbind": unbind,
    **dict.fromkeys(("narrow", "select"), narrow),
    "getitem": getitem,
    **dict.fromkeys(("mean", "sum", "amax", "amin"), reduce),
    **dict.fromkeys(("norm", "vector_norm", "linalg_vector_norm", "linalg_norm"), norm),
    **dict.fromkeys(("var", "std"), deviation),
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout"), dropout),
    **dict.fromkeys(("alpha_dropout", "feature_alpha_dropout"), dropout),
    "glu": glu,
}
