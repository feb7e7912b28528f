"""Another activation in Keras: arguments, layers and functions, but not what closes the network."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from evengrad.fixing.patch.keras.head import closing
from evengrad.fixing.patch.keras.layers import kind
from evengrad.fixing.patch.script import arguments
from evengrad.fixing.patch.script.activations import KERAS, KERAS_LAYERS, Replacement, plain
from evengrad.fixing.patch.script.define import define
from evengrad.fixing.patch.script.draft import Manual, SourceDraft
from evengrad.fixing.patch.script.python import own_class, own_function
from evengrad.fixing.patch.script.source import Source
from evengrad.fixing.wording import shaped

_PACKAGES = ("keras.activations", "keras.ops", "keras.ops.nn", "tensorflow.nn")
_RECURRENT = {"LSTM", "GRU", "SimpleRNN", "ConvLSTM2D", "LSTMCell", "GRUCell"}


def replace_activation(
    draft: SourceDraft,
    old: str,
    new: str,
    slope: float | None,
    shaping: Sequence[float] | None = None,
) -> None:
    """Every argument, layer and function of the old activation."""
    change = Replacement(plain(old), plain(new), slope, shaping)
    if change.new not in KERAS:
        raise Manual()
    source, ends = draft.source, closing(draft.source)
    changed: list[cst.CSTNode] = []
    for call in source.all(cst.Call):
        given = _given(source, call)
        if given is not None and all(call is not end for end in ends):
            _argument(draft, call, given, change, ends, changed)
        elif all(call is not end for end in ends) and not _is_argument(source, call):
            _layer_or_function(draft, call, change)
    _define(draft, change)


def _define(draft: SourceDraft, change: Replacement) -> None:
    """The function of a shaped activation, above what uses it, under a name that a saved model finds again."""
    places = [edit.start for edit in draft.edits if change.function in edit.text]
    if change.shaping is None or not places:
        return
    code = draft.spell(f"keras.activations.{change.new}")
    lines = (
        f"@{draft.spell('keras.saving.register_keras_serializable')}()",
        f"def {change.function}(x):",
        f'    """{change.new} for a plain network of this depth (arXiv 2203.08120)."""',
        f"    return {shaped(code + '({})', 'x', change.shaping)}",
    )
    define(draft, draft.source.top(min(places)), "\n".join(lines))


def activation(source: Source, value: cst.BaseExpression | None) -> str:
    """The activation that an argument names: a string, a function, a layer; else nothing."""
    if isinstance(value, cst.Name) and len(bound := source.definitions(value)) == 1:
        parameter = isinstance(source.parent(bound[0].node), cst.Param | cst.Parameters)
        value = value if parameter else bound[0].value or value
    if isinstance(value, cst.SimpleString):
        return plain(str(value.evaluated_value))
    if isinstance(value, cst.Call):
        known = {layer: name for name, layer in KERAS_LAYERS.items()}
        return known.get(kind(source, value), "")
    package, _, name = source.name(value).rpartition(".")
    return plain(name) if package in _PACKAGES else ""


def given_activation(source: Source, call: cst.Call) -> cst.Arg | None:
    """A layer's argument for its activation."""
    position = {"Activation": 0, "Dense": 1}.get(kind(source, call))
    return arguments.argument(call, "activation", position)


def _given(source: Source, call: cst.Call) -> cst.BaseExpression | None:
    own = own_function(source, call) is not None or own_class(source, call) is not None
    if kind(source, call) in _RECURRENT or not (own or kind(source, call)):
        return None
    arg = given_activation(source, call)
    return None if arg is None else arg.value


def _is_argument(source: Source, call: cst.Call) -> bool:
    above = source.parent(call)
    return isinstance(above, cst.Arg) and above.keyword is not None


def _argument(
    draft: SourceDraft,
    call: cst.Call,
    given: cst.BaseExpression,
    change: Replacement,
    ends: list[cst.Call],
    changed: list[cst.CSTNode],
) -> None:
    """``activation="sigmoid"``, also where the string has a name that nothing closing uses."""
    source, place = draft.source, given
    if isinstance(given, cst.Name) and len(bound := source.definitions(given)) == 1:
        value = bound[0].value
        if isinstance(value, cst.SimpleString):
            uses = [n.value for end in ends for n in source.all(cst.Name, end)]
            place = given if given.value in uses else value
            given = value
    if activation(source, given) != plain(change.old) or any(place is node for node in changed):
        return
    changed.append(place)
    if kind(source, call) == "Activation" and change.slope is not None:
        draft.replace(call, _as_layer(draft, change))
    else:
        draft.replace(place, _as_argument(draft, change))


def _as_argument(draft: SourceDraft, change: Replacement) -> str:
    if change.shaping is not None:
        return change.function
    if change.slope is not None and plain(change.new) == "leaky_relu":
        return _as_layer(draft, change)
    return draft.quoted(plain(change.new))


def _as_layer(draft: SourceDraft, change: Replacement) -> str:
    new = plain(change.new)
    if change.shaping is not None:
        return f"{draft.spell('keras.layers.Activation')}({change.function})"
    if new not in KERAS_LAYERS:
        return f"{draft.spell('keras.layers.Activation')}({draft.quoted(new)})"
    slope = "" if change.slope is None else f"negative_slope={change.slope:.4g}"
    return f"{draft.spell(f'keras.layers.{KERAS_LAYERS[new]}')}({slope})"


def _layer_or_function(draft: SourceDraft, call: cst.Call, change: Replacement) -> None:
    """``layers.ReLU()``; ``keras.activations.sigmoid(x)``, ``tf.nn.sigmoid(x)``."""
    source, old, new = draft.source, plain(change.old), plain(change.new)
    if kind(source, call) and kind(source, call) == KERAS_LAYERS.get(old):
        draft.replace(call, _as_layer(draft, change))
        return
    package, _, name = source.called(call).rpartition(".")
    if package in _PACKAGES and plain(name) == old and call.args:
        if change.shaping is not None:
            draft.replace(call.func, change.function)
            return
        if change.slope is None and package == "tensorflow.nn":
            draft.replace(call.func, f"{source.code(call.func).rpartition('.')[0]}.{new}")
            return
        draft.replace(call.func, draft.spell(f"keras.activations.{new}"))
        if change.slope is not None:
            draft.insert(source.end(call.args[-1]), f", negative_slope={change.slope:.4g}")
