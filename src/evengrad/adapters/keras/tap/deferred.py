"""Begins to watch a model at its first training step, when model and optimizer are surely built."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.state import is_built
from evengrad.adapters.keras.tap.access import InState
from evengrad.adapters.keras.tap.watched import Watched
from evengrad.values.run import RunStatus

_MARK = "__evengrad_watch__"


class DeferredWatch:
    """Instead of a model's training function, until ``remove``.

    Args:
        model: which is built by its first batch at the latest.
        start: puts the watch on the built model; gives it, and the training function.
        failed: told of an error of our own; the training goes on unwatched.
        ended: told when an error of the training ends it.
    """

    def __init__(
        self,
        model: Any,
        start: Callable[[], tuple[Watched, Any]],
        failed: Callable[[Exception], None],
        ended: Callable[[RunStatus], None],
    ) -> None:
        self.model = model
        self.watched: Watched | None = None
        self._start, self._failed, self._ended = start, failed, ended
        self._patches = Patches()
        self._put(self._first)

    def _put(self, function: Any) -> None:
        self._installed = function
        self._patches.put(self.model, "train_function", function)

    @staticmethod
    def watches(model: Any) -> bool:
        """Whether a watch stands before this model's training function."""
        return getattr(model.train_function, "__func__", None) is DeferredWatch._first or hasattr(
            model.train_function, _MARK
        )

    @property
    def installed(self) -> bool:
        """Whether the model still has what was put on it; compiling it anew takes that off."""
        return self.model.train_function is self._installed

    def remove(self, flush: bool = True) -> None:
        """Leave no trace in the model. Twice is once."""
        self._patches.undo()
        if self.watched is not None:
            self.watched.take_off(flush)

    def _first(self, *args: Any) -> Any:
        """The first call: ours begins here."""
        try:
            self._patches.undo()
            args = _build(self.model, args)
            with _filled(self.model, args):
                self.watched, function = self._start()
            if keras.backend.backend() == "jax":
                args = (_extended(args[0], self.watched.ring.variables), *args[1:])
        except Exception as error:
            self._failed(error)
            return self.model.train_function(*args)

        def call(*args: Any) -> Any:
            try:
                return function(*args)
            except BaseException as error:
                if type(error).__name__ not in ("StopIteration", "OutOfRangeError"):
                    self.remove(flush=False)
                    self._ended(_status(error))
                raise

        setattr(call, _MARK, True)
        self._put(call)
        return call(*args)


def _status(error: BaseException) -> RunStatus:
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"


def _filled(model: Any, args: tuple[Any, ...]) -> AbstractContextManager[None]:
    """On JAX ``fit`` has taken the values out of the variables; their devices are asked of these."""
    if keras.backend.backend() != "jax":
        return nullcontext()
    access = InState(model)
    access.state = args[0]
    return access.filled()


def _extended(state: Any, variables: list[Any]) -> Any:
    """What JAX's ``fit`` collected before our variables were there, with them."""
    return (*state[:2], [*state[2], *(v.value for v in variables)], *state[3:])


def _build(model: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Variables of a model and optimizer that TensorFlow would make in its first step. Returns what the
    training function is to be called with.
    """
    if keras.backend.backend() != "tensorflow":
        return args
    if not is_built(model):
        spec = getattr(args[0], "element_spec", None)
        if spec is None:
            batches = list(args[0])
            spec, args = batches[0], (iter(batches), *args[1:])
        compat.symbolic_build(model, keras.tree.map_structure(_symbol, spec))
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return args


def _symbol(spec: Any) -> Any:
    if not hasattr(spec, "shape"):
        return None  # an Optional: no sample weights
    return keras.KerasTensor(tuple(spec.shape), keras.backend.standardize_dtype(spec.dtype))
