"""Steps into ``Model.fit`` and ``train_on_batch``, wherever the user's script calls them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

import keras

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras import compat

Handler = Callable[[Any, dict[str, Any], Callable[[], Any]], Any]
"""(model, arguments, go_on) -> what the method returns. arguments: all of them by name, defaults too; a handler
may change them. go_on: the method itself, with those.
"""


def intercept(patches: Patches, handlers: dict[str, Handler]) -> None:
    """Let handlers stand around methods of ``keras.Model``, until the patches are undone."""
    for name, handler in handlers.items():
        own = next(vars(cls)[name] for cls in keras.Model.__mro__[1:] if name in vars(cls))
        signature = inspect.signature(own)  # not that of somebody's wrapper
        patches.wrap(keras.Model, name, partial(_around, signature, handler))


def _around(signature: inspect.Signature, handler: Handler, original: Any) -> Any:
    kinds = signature.parameters.values()
    more = next((p.name for p in kinds if p.kind is inspect.Parameter.VAR_KEYWORD), "")

    @wraps(original)
    def method(model: Any, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(model, *args, **kwargs)
        bound.apply_defaults()
        before, given = dict(bound.arguments), bound.arguments

        def go_on() -> Any:
            places = list(signature.parameters)[1 : 1 + len(args)]
            rest = {k: v for k, v in given.items() if k in kwargs or v is not before[k]}
            named = {k: v for k, v in rest.items() if k not in places} | given.get(more, {})
            return original(model, *(given[k] for k in places), **named)

        return handler(model, given, go_on)

    return method


def callbacks_of(given: Any) -> list[Any]:
    """What is in the ``callbacks`` of ``fit``, flat."""
    own = given.callbacks if isinstance(given, keras.callbacks.CallbackList) else given
    return keras.tree.flatten(own) if own else []


@contextmanager
def called_back(given: dict[str, Any], model: Any, callback: Any) -> Iterator[None]:
    """While it lasts, ``fit``'s arguments have one more callback, called in this thread."""
    callbacks = given["callbacks"]
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        given["callbacks"] = [*callbacks_of(callbacks), callback]
        yield
        return
    callback.set_params(callbacks.params)
    callback.set_model(model)
    with compat.callback_added(callbacks, callback):
        yield
