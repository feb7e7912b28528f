"""What closes a Keras network: its last layer or function, which belongs to the loss."""

from __future__ import annotations

import libcst as cst

from evengrad.fixing.patch.keras.layers import kind
from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.python import before, method, own_class, own_function, returned
from evengrad.fixing.patch.script.source import Source

_INPUTS = {"keras.Input", "keras.layers.InputLayer"}
_THROUGH = {"Flatten", "Reshape", "Rescaling", "Dropout"}


def closing(source: Source) -> list[cst.Call]:
    """The last layers' constructions, or calls of the last functions, of all models of the script."""
    found: list[cst.Call] = []
    for layers in root_sequentials(source):
        found += _of_layer(source, layers[-1], 0) if layers else []
    for owner in root_classes(source):
        found += _of_class(source, owner, 0)
    for call in source.all(cst.Call):
        if source.called(call) == "keras.Model":
            outputs = arguments.value(call, "outputs", 1)
            found += [] if outputs is None else _of_value(source, outputs, 0)
    return found


def own_models(source: Source) -> list[cst.ClassDef]:
    """The script's own classes of models and layers."""
    bases = {"keras.Model", "keras.Sequential", "keras.Layer"}
    return [
        owner
        for owner in source.all(cst.ClassDef)
        if bases & {source.name(arg.value) for arg in owner.bases}
    ]


def root_classes(source: Source) -> list[cst.ClassDef]:
    """Those that are no part of another one."""
    classes = own_models(source)
    inner = {source.code(c.func) for owner in classes for c in source.all(cst.Call, owner)}
    models = [c for c in classes if "keras.Layer" not in {source.name(a.value) for a in c.bases}]
    return [owner for owner in models if owner.name.value not in inner and method(owner, "call")]


def root_sequentials(source: Source) -> list[list[cst.BaseExpression]]:
    """The layers of each Sequential that is no part of another model."""
    calls = [call for call in source.all(cst.Call) if source.called(call) == "keras.Sequential"]
    return [sequence(source, call) for call in calls if _is_root(source, call)]


def sequence(source: Source, call: cst.Call) -> list[cst.BaseExpression]:
    """The layers of a Sequential: those of its list, then those added."""
    given = arguments.value(call, "layers", 0)
    if isinstance(given, cst.Name):
        given = before(source, given)
    layers: list[cst.BaseExpression] = []
    if isinstance(given, cst.List | cst.Tuple):
        layers += [element.value for element in given.elements]
    target = _target(source, call)
    for other in source.all(cst.Call):
        func = other.func
        if target is not None and isinstance(func, cst.Attribute) and func.attr.value == "add":
            same = source.code(func.value) == source.code(target) and other.args
            if same and _function(source, other) is _function(source, call):
                layers.append(other.args[0].value)
    return layers


def _function(source: Source, node: cst.CSTNode) -> cst.FunctionDef | None:
    return source.around(node, cst.FunctionDef)


def _target(source: Source, call: cst.Call) -> cst.BaseExpression | None:
    above = source.parent(call)
    return above.targets[0].target if isinstance(above, cst.Assign) else None


def _is_root(source: Source, call: cst.Call) -> bool:
    if source.around(call, cst.ClassDef) or isinstance(source.parent(call), cst.Arg | cst.Element):
        return False
    target = _target(source, call)
    name = None if target is None else source.code(target)
    used = [c for c in source.all(cst.Call) if source.code(c.func) == name]
    return not any(
        _function(source, c) is _function(source, call) and _feeds(source, c) for c in used
    )


def _feeds(source: Source, call: cst.Call) -> bool:
    """Whether what a call gives goes on, as a layer's does."""
    return isinstance(source.parent(call), cst.Assign | cst.Arg)


def _of_class(source: Source, owner: cst.ClassDef, depth: int) -> list[cst.Call]:
    call = method(owner, "call")
    values = [] if call is None or depth > 20 else returned(source, call)
    return [found for value in values for found in _of_value(source, value, depth + 1)]


def _of_layer(source: Source, layer: cst.BaseExpression | None, depth: int) -> list[cst.Call]:
    """The construction of a last layer, through names and containers."""
    if isinstance(layer, cst.Name | cst.Attribute):
        bound = source.definitions(layer)
        layer = bound[0].value if len(bound) == 1 else None
    if not isinstance(layer, cst.Call) or depth > 20:
        return []
    if source.called(layer) == "keras.Sequential":
        layers = sequence(source, layer)
        return _of_layer(source, layers[-1], depth + 1) if layers else []
    owner = own_class(source, layer)
    return [layer] if owner is None else _of_class(source, owner, depth + 1)


def _of_value(source: Source, value: cst.BaseExpression, depth: int) -> list[cst.Call]:
    """What computed a value last."""
    if isinstance(value, cst.List | cst.Tuple):
        return [f for e in value.elements for f in _of_value(source, e.value, depth + 1)]
    if isinstance(value, cst.Name):
        last = before(source, value)
        return [] if last is None or depth > 20 else _of_value(source, last, depth + 1)
    if not isinstance(value, cst.Call) or depth > 20:
        return []
    if kind(source, value.func) in _THROUGH and value.args:
        return _of_value(source, value.args[0].value, depth + 1)
    if source.name(value.func):
        return [value]  # keras.ops.softmax(x)
    if (function := own_function(source, value)) is not None:
        inner = returned(source, function)
        return [f for one in inner for f in _of_value(source, one, depth + 1)]
    return _of_layer(source, value.func, depth + 1)


def built(source: Source) -> bool:
    """Whether the model has its weights before it is trained, as far as can be seen."""
    lists = root_sequentials(source)
    graphs = any(source.called(call) == "keras.Model" for call in source.all(cst.Call))
    return graphs or (bool(lists) and all(_begins(source, layers) for layers in lists))


def _begins(source: Source, layers: list[cst.BaseExpression]) -> bool:
    first = layers[0] if layers else None
    if not isinstance(first, cst.Call):
        return False
    words = {arg.keyword.value for arg in first.args if arg.keyword}
    return source.called(first) in _INPUTS or bool(words & {"input_shape", "input_dim"})
