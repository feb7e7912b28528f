"""Keras: weights that the first batch scales, in front of ``fit``."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from evengrad.fixing.patch.keras import optimizers
from evengrad.fixing.patch.keras.head import built, root_classes
from evengrad.fixing.patch.keras.initialise import KERNEL
from evengrad.fixing.patch.keras.layers import kind, layers_made, sites
from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.source import Source

_NAMES = ("layer", "activation", "before")
_BATCH = "32"  # Keras' own


def unit_variance(draft: SourceDraft, layers: Sequence[str]) -> None:
    """Orthogonal weights, divided by the deviation of what comes out of the layer without its activation."""
    source = draft.source
    compiled = optimizers.compiles(source)
    fit = _fit(source, compiled)
    found, missing = sites(source, layers)
    calls = [made.call for made in layers_made(source) if kind(source, made.call) in KERNEL]
    plain = {id(call) for call in calls} == {id(call) for call, _ in found}
    x = arguments.value(fit, "x", 0)
    if (
        missing
        or not plain
        or any(map(_biased, calls))
        or not isinstance(x, cst.Name | cst.Attribute | cst.Subscript)
    ):
        raise Manual(fit, "before")
    if not built(source) or root_classes(source) or any(source.local(n, fit) for n in _NAMES):
        raise Manual(fit, "before")
    assert isinstance(compiled[0].func, cst.Attribute)
    model, size = source.code(compiled[0].func.value), arguments.value(fit, "batch_size", 2)
    batch = f"{source.code(x)}[:{_BATCH if size is None else source.code(size)}]"
    orthogonal, std = draft.spell("keras.initializers.Orthogonal"), draft.spell("keras.ops.std")
    linear = draft.spell("keras.activations.linear")
    draft.before(
        fit,
        [
            f"for layer in {model}.layers:",
            '    if not hasattr(layer, "kernel"):',
            "        continue",
            f"    layer.kernel.assign({orthogonal}()(layer.kernel.shape))",
            f"    activation, layer.activation = layer.activation, {linear}",
            f"    before = {draft.spell('keras.Model')}({model}.inputs[0], layer.output)({batch})",
            f"    layer.kernel.assign(layer.kernel / {std}(before))  # variance 1, before the activation",
            "    layer.activation = activation",
        ],
    )


def _fit(source: Source, compiled: list[cst.Call]) -> cst.Call:
    """The one training, with arrays, of the one model. Raises Manual."""
    if len(compiled) != 1 or not isinstance(compiled[0].func, cst.Attribute):
        raise Manual(next(iter(compiled), None), "after")
    name = f"{source.code(compiled[0].func.value)}.fit"
    calls = [call for call in source.all(cst.Call) if source.code(call.func) == name]
    if len(calls) != 1 or source.around(calls[0], cst.For) or arguments.unpacked(calls[0]):
        raise Manual(compiled[0], "after")
    if arguments.value(calls[0], "y", 1) is None:
        raise Manual(calls[0], "before")
    return calls[0]


def _biased(call: cst.Call) -> bool:
    return arguments.unpacked(call) or arguments.argument(call, "bias_initializer") is not None
