"""Another loss head and other inputs in a live live."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import keras
from keras.layers import Layer

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.change.activation import name_of, put
from evengrad.adapters.keras.change.model import LiveModel
from evengrad.adapters.keras.measure.measure import HEADS
from evengrad.errors import CannotChangeError
from evengrad.values.spec import Kind


def logits(live: LiveModel, from_logits: bool) -> None:
    """Tell the loss, or make the closing activation linear."""
    if from_logits:
        _tell(live.model)
        return
    closing = [o for o in live.head.values() if isinstance(o, Layer) and name_of(o) in HEADS]
    if not closing:
        raise CannotChangeError(
            f"{type(live.model).__name__} has no layer whose closing softmax or sigmoid could be taken "
            "away."
        )
    for layer in closing:
        put(layer, keras.activations.linear)


def _tell(model: Any) -> None:
    if compat.compiled_loss(model) is None:
        raise CannotChangeError("The model is compiled without a loss that could be told.")
    new = compat.fresh_loss(model, _of_logits)
    model.__dict__["loss"] = keras.tree.map_structure(_of_logits, model.loss)
    compat.put_loss(model, new)


def _of_logits(loss: Any) -> Any:
    found = keras.losses.get(loss) if isinstance(loss, str) else loss
    function = getattr(found, "fn", found)
    known = getattr(function, "__name__", "")
    word = "".join(part.capitalize() for part in known.split("_"))
    cls = getattr(keras.losses, word, None)
    if cls is None or "from_logits" not in inspect.signature(cls).parameters:
        name = known or type(found).__name__
        raise CannotChangeError(f"The loss {name} cannot be told that it gets logits.")
    own = found.get_config() if isinstance(found, cls) else {}
    return cls.from_config({**own, "from_logits": True})


def inputs(live: LiveModel, mean: float, std: float) -> None:
    """The model's own ``call`` gets (x - mean) / std for each float input, or, where it has none, for each of
    whole numbers: so the data, the graph and the layers stay the script's own, and validation sees the same.
    """
    model = live.model
    _expect_numbers(live)

    def changed(x: Any) -> Any:
        whole = not any(_is_float(v) for v in keras.tree.flatten(x))

        def normalised(v: Any) -> Any:
            if v is None or not (whole or _is_float(v)):
                return v
            return (keras.ops.cast(v, model.compute_dtype) - mean) / std

        return keras.tree.map_structure(normalised, x)

    _before(model, changed)


def finite(live: LiveModel) -> None:
    """The model's own ``call`` gets 0 wherever a float input is not finite."""
    model = live.model
    flat = keras.tree.flatten(live.trace.inputs)
    if not any(_is_float(v) for v in flat):
        raise CannotChangeError("The inputs are whole numbers, which are always finite.")

    _before(model, lambda x: keras.tree.map_structure(_made_finite, x))


def finite_targets(live: LiveModel) -> None:
    """The loss gets 0 wherever a float target is not finite."""
    model = live.model
    original = model.compute_loss

    @wraps(original)
    def compute_loss(x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        return original(x, keras.tree.map_structure(_made_finite, y), *args, **kwargs)

    model.__dict__["compute_loss"] = compute_loss


def _before(model: Any, changed: Callable[[Any], Any]) -> None:
    """``changed``, then what has been the model's ``call`` so far."""
    call, own = model.call, model.__dict__.setdefault("_evengrad_inputs", [])
    own.append(changed)
    if len(own) > 1:
        return

    @wraps(call)
    def with_changed(x: Any, *args: Any, **kwargs: Any) -> Any:
        for change in own:
            x = change(x)
        return call(x, *args, **kwargs)

    model.__dict__["call"] = with_changed


def _made_finite(tensor: Any) -> Any:
    return keras.ops.nan_to_num(tensor, 0.0, 0.0, 0.0) if _is_float(tensor) else tensor


def _is_float(tensor: Any) -> bool:
    return tensor is not None and bool(
        keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype))
    )


def _expect_numbers(live: LiveModel) -> None:
    read = {id(t) for t in keras.tree.flatten(live.trace.inputs)}
    for call in live.trace.calls:
        if call.kind is Kind.EMBEDDING and any(id(t) in read for t in call.reads()):
            raise CannotChangeError(f"The inputs are indices into {call.layer}, not numbers.")
    own = compat.input_structure(live.model)
    for tensor in [] if own is None else keras.tree.flatten(own):
        if not _is_float(tensor):
            raise CannotChangeError(f"The input {tensor.name!r} takes {tensor.dtype} only.")
