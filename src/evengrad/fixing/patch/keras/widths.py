"""Keras: how many inputs a Dense layer has, where the script shows it."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.keras.head import root_sequentials
from evengrad.fixing.patch.keras.layers import kind
from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.counting import integer
from evengrad.fixing.patch.script.python import before
from evengrad.fixing.patch.script.source import Source

_SAME_WIDTH = {
    "Activation", "ReLU", "LeakyReLU", "ELU", "Dropout", "BatchNormalization", "LayerNormalization",
    "GroupNormalization", "Rescaling",
}  # fmt: skip
_FUNCTIONS = ("keras.activations.", "tensorflow.nn.", "keras.ops.")
_DEEP = 30


def widening(source: Source, call: cst.Call) -> float | None:
    """A Dense layer's outputs per input; None where that cannot be told. Keras draws rows or columns
    orthonormal, whichever are fewer, and so with Var W = 1 / the more.
    """
    if kind(source, call) != "Dense":
        return None
    inputs, outputs = _inputs(source, call), _units(source, call)
    return None if not inputs or outputs is None else outputs / inputs


def _units(source: Source, call: cst.Call) -> int | None:
    return integer(source, arguments.value(call, "units", 0))


def _inputs(source: Source, call: cst.Call) -> int | None:
    if (given := _told(source, call)) is not None:
        return given
    for layers in root_sequentials(source):
        if any(layer is call for layer in layers):
            return _of_sequence(source, layers, next(i for i, v in enumerate(layers) if v is call))
    use = _use(source, call)
    return _width(source, use.args[0].value, 0) if use is not None and use.args else None


def _told(source: Source, call: cst.Call) -> int | None:
    """By the layer itself, or by an Input."""
    shape = arguments.value(call, "input_shape")
    if source.called(call) in {"keras.Input", "keras.layers.InputLayer"}:
        shape = arguments.value(call, "shape", 0)
    if isinstance(shape, cst.Tuple) and len(shape.elements) == 1:
        return integer(source, shape.elements[0].value)
    return integer(source, arguments.value(call, "input_dim"))


def _of_sequence(source: Source, layers: list[cst.BaseExpression], index: int) -> int | None:
    """What the layers before give; those of a loop stand for several, alike."""
    for layer in reversed(layers[:index]):
        if not isinstance(layer, cst.Call) or _looped(source, layer, layers[index]):
            return None
        if kind(source, layer) not in _SAME_WIDTH:
            return _given(source, layer)
    return None


def _looped(source: Source, layer: cst.Call, other: cst.CSTNode) -> bool:
    """Whether both are made in loops, so that the one before may be another."""
    return source.around(other, cst.For) is not None and source.around(layer, cst.For) is not None


def _given(source: Source, layer: cst.Call) -> int | None:
    return _units(source, layer) if kind(source, layer) == "Dense" else _told(source, layer)


def _use(source: Source, call: cst.Call) -> cst.Call | None:
    """The one call of a layer."""
    above = source.parent(call)
    if isinstance(above, cst.Call) and above.func is call:
        return above
    if not isinstance(above, cst.Assign) or source.around(call, cst.For) is not None:
        return None
    target = source.code(above.targets[0].target)
    uses = [c for c in source.all(cst.Call) if source.code(c.func) == target]
    return uses[0] if len(uses) == 1 and source.around(uses[0], cst.For) is None else None


def _width(source: Source, value: cst.BaseExpression | None, depth: int) -> int | None:
    if isinstance(value, cst.Name):
        value = before(source, value)
    if not isinstance(value, cst.Call) or depth > _DEEP or source.around(value, cst.For):
        return None
    if (told := _told(source, value)) is not None:
        return told
    layer = value.func
    if isinstance(layer, cst.Name | cst.Attribute):
        if source.name(layer).startswith(_FUNCTIONS) and len(value.args) == 1:
            return _width(source, value.args[0].value, depth + 1)
        bound = source.definitions(layer)
        layer = bound[0].value or layer if len(bound) == 1 else layer
    if not isinstance(layer, cst.Call) or not value.args:
        return None
    if kind(source, layer) in _SAME_WIDTH:
        return _width(source, value.args[0].value, depth + 1)
    return _given(source, layer)
