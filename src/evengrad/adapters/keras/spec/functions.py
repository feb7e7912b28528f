"""What keras.ops has of layers: convolution, pooling, normalisation."""

from __future__ import annotations

from typing import Any

import keras

from evengrad.adapters.keras.spec.draft import LayerDraft, RuleResult, TensorOperand, axes_of
from evengrad.adapters.keras.spec.linear import emit_convolution
from evengrad.adapters.keras.spec.moves import pooled
from evengrad.adapters.keras.spec.normalise import affine, unit
from evengrad.adapters.keras.spec.products import weight_law
from evengrad.values.spec import Normalise


def convolution(draft: LayerDraft) -> RuleResult:
    """ops.conv, ops.depthwise_conv with weights."""
    others = keras.tree.flatten((draft.call.args[1:], draft.call.kwargs))
    kernel: Any = next((v for v in others if hasattr(v, "shape")), None)
    law = None if kernel is None else weight_law(kernel, draft)
    padding = draft.option("padding", default="valid")
    if kernel is None or law is None or not isinstance(padding, str):
        return draft.opaque("a convolution by other than weights")
    x = draft.inputs[0]
    count, spatial = draft.rank(x) - 2, tuple(int(n) for n in kernel.shape[:-2])
    layout = draft.option("data_format", default=None) or keras.config.image_data_format()
    channels = draft.shape(x)[1 if layout == "channels_first" else -1]
    deep = draft.call.type.startswith("depthwise")
    filters = int(kernel.shape[-1]) * (channels if deep else 1)
    return emit_convolution(
        draft,
        x,
        law,
        None,
        kernel=spatial,
        stride=_each(draft.option("strides", default=1), count),
        dilation=_each(draft.option("dilation_rate", default=1), count),
        padding=padding.lower(),
        filters=filters,
        groups=channels if deep else channels // int(kernel.shape[-2]),
        data_format=layout,
    )


def _each(value: Any, count: int) -> tuple[int, ...]:
    return (int(value),) * count if isinstance(value, int) else tuple(int(v) for v in value)


def pool(draft: LayerDraft) -> RuleResult:
    """ops.max_pool, ops.average_pool."""
    word = "max" if draft.call.type.startswith("max") else "average"
    layout = draft.option("data_format") or keras.config.image_data_format()
    padding = draft.option("padding", default="valid")
    kernel = draft.option("pool_size")
    if kernel is None or not isinstance(padding, str):
        return draft.opaque("a backend's own pooling")
    return pooled(draft, draft.inputs[0], word, kernel, draft.option("strides"), padding, layout)


def normalise(draft: LayerDraft) -> RuleResult:
    """ops.normalize to a Euclidean norm of one."""
    if draft.option("order", default=2) != 2:
        return draft.opaque("a norm that is not Euclidean")
    axes = axes_of(draft.option("axis", default=-1), draft.rank(draft.inputs[0]))
    return unit(draft, draft.inputs[0], axes, 1e-12)


def layer_norm(draft: LayerDraft) -> RuleResult:
    """ops.layer_normalization, ops.rms_normalization, with their weights."""
    x = draft.inputs[0]
    axes, epsilon = _normalised(draft, x)
    centred = draft.call.type == "layer_norm" and not draft.option("rms_scaling")
    z = draft.emit(Normalise(axes, centred, float(epsilon)), x, shape=draft.shape(x))
    line = tuple(n if a in axes else 1 for a, n in enumerate(draft.shape(x)))
    lines = [
        v for v in draft.operands() if isinstance(v, TensorOperand) and v.number not in draft.inputs
    ]
    for name, operand in zip(("multiply", "add"), lines, strict=False):
        z = affine(draft, z, name, draft.table.constants.get(operand.number), line)
    return z


def _normalised(draft: LayerDraft, x: int) -> tuple[tuple[int, ...], float]:
    """Axes and epsilon; torch's own functions are told the shape of the last axes."""
    last = draft.option("normalized_shape")
    if last is None and len(draft.call.args) > 1 and isinstance(draft.call.args[1], list | tuple):
        last = draft.call.args[1]
    if last is not None:
        axes = tuple(range(draft.rank(x) - len(last), draft.rank(x)))
        return axes, float(draft.option("eps", default=1e-5))
    axes = axes_of(draft.option("axis", default=-1), draft.rank(x))
    return axes, float(draft.option("epsilon") or keras.config.epsilon())
