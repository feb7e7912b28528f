"""Hears what a training does, whoever wrote the loop: what it differentiates, which optimizer it gives what.

``Model.fit`` and loops of the script's own alike; a listener is called in the very moment, so that
``source.where()`` in it gives the user's line. In a compiled step (``tf.function``, ``jax.jit``) that is while
it is traced, and tensors are symbolic.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import keras

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.facts.single import is_alone
from evengrad.adapters.keras.measure.update import is_copy
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.native import Differentiated
from evengrad.recording import failure

_BOUNDS = ("clip_norm", "clip_value_max", "x_max", "max_norm", "clip_value")


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """An optimizer was given gradients: its ``apply``, ``apply_gradients`` or ``stateless_apply``.

    Attributes:
        optimizer: the outer one, where there is a LossScaleOptimizer.
        gradients: as it gets them, None where there is none.
        variables: that they are of.
    """

    optimizer: Any
    gradients: tuple[Any, ...]
    variables: tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class BatchNormCalled:
    """A BatchNormalization was called.

    Attributes:
        layer: itself.
        training: whether it takes the batch's statistics, and so learns its moving ones.
        alone: whether these are of one value.
    """

    layer: Any
    training: bool
    alone: bool


@dataclass(frozen=True, slots=True, eq=False)
class LossScaled:
    """A loss was scaled by ``optimizer.scale_loss``.

    Attributes:
        optimizer: that scales.
        loss: before.
        scaled: what is to be differentiated.
    """

    optimizer: Any
    loss: Any
    scaled: Any


@dataclass(frozen=True, slots=True, eq=False)
class Clipped:
    """Tensors were clipped by a function of the framework's.

    Attributes:
        bound: as it was given, a number or a tensor.
        given: before.
        found: after; the same ones where they are changed in place.
    """

    bound: Any
    given: tuple[Any, ...]
    found: tuple[Any, ...]


class Listening:
    """Tells listeners of a training, until the patches are undone. A listener that raises is not heard again.

    Attributes:
        differentiated: listeners.
        applied: listeners, called before the update.
        clipped: listeners.
        normalised: listeners.
        scaled: listeners.
    """

    def __init__(self, patches: Patches) -> None:
        self.differentiated: list[Callable[[Differentiated], None]] = []
        self.applied: list[Callable[[Applied], None]] = []
        self.clipped: list[Callable[[Clipped], None]] = []
        self.normalised: list[Callable[[BatchNormCalled], None]] = []
        self.scaled: list[Callable[[LossScaled], None]] = []
        self._local = threading.local()
        self._given: Any = None  # an optimizer whose gradients were told of already
        native.differentiating(patches, lambda found: self.hear("differentiated", found))
        for place, name in native.clips():
            self._wrap(patches, place, name, self._clipping)
        self._wrap(patches, keras.layers.BatchNormalization, "call", self._normalising)
        for cls in (keras.optimizers.Optimizer, keras.optimizers.LossScaleOptimizer):
            self._wrap(patches, cls, "apply", self._applying)
            self._wrap(patches, cls, "scale_loss", self._scaling)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While it lasts, nothing is heard in this thread: what happens is our own doing."""
        before, self._local.paused = self._paused, True
        try:
            yield
        finally:
            self._local.paused = before

    def hear(self, kind: str, make: Callable[[], Any]) -> None:
        """Tell the listeners of that kind. No error of theirs reaches the training."""
        listeners = getattr(self, kind)
        if self._paused or not listeners:
            return
        with self.paused():
            try:
                event = make()
            except Exception as error:
                failure.tell(error)
                listeners.clear()
                return
            for listener in list(listeners):
                try:
                    listener(event)
                except Exception as error:
                    listeners.remove(listener)
                    failure.tell(error)

    @contextmanager
    def given(self, event: Applied) -> Iterator[None]:
        """Tell of a step's gradients before anything of ours has touched them. While it lasts, the optimizer's
        own ``apply`` is not told of again.
        """
        self.hear("applied", lambda: event)
        before, self._given = self._given, event.optimizer
        try:
            yield
        finally:
            self._given = before

    @property
    def _paused(self) -> bool:
        return bool(getattr(self._local, "paused", False))

    @staticmethod
    def _wrap(patches: Patches, place: Any, name: str, make: Callable[[Any], Any]) -> None:
        patches.wrap(place, name, make)
        compat.leave_unconverted(vars(place)[name])

    # --- on every backend ------------------------------------------------------------------------

    def _applying(self, original: Any) -> Any:
        def apply(optimizer: Any, grads: Any, trainable_variables: Any = None) -> Any:
            if self._paused or is_copy(optimizer):
                return original(optimizer, grads, trainable_variables)
            given = list(grads)
            own = None if trainable_variables is None else list(trainable_variables)
            known = compat.trained_by(optimizer) if own is None else own
            if self._given is not optimizer:
                self.hear("applied", lambda: Applied(optimizer, tuple(given), tuple(known)))
            if not hasattr(optimizer, "inner_optimizer"):
                return original(optimizer, given, own)
            with self.paused():  # the inner one's is the same step
                return original(optimizer, given, own)

        return apply

    def _clipping(self, original: Any) -> Any:
        @wraps(original)
        def clip(given: Any, *args: Any, **kwargs: Any) -> Any:
            before = native.clippable(given)
            found = original(given, *args, **kwargs)
            bound = args[-1] if args else next((kwargs[n] for n in _BOUNDS if n in kwargs), None)
            after = before if native.in_place(original) else native.clippable(found)
            self.hear("clipped", lambda: Clipped(bound, before, after))
            return found

        return clip

    def _scaling(self, original: Any) -> Any:
        def scale_loss(optimizer: Any, loss: Any) -> Any:
            found = original(optimizer, loss)
            self.hear("scaled", lambda: LossScaled(optimizer, loss, found))
            return found

        return scale_loss

    def _normalising(self, original: Any) -> Any:
        @wraps(original)
        def call(layer: Any, inputs: Any, training: Any = None, **kwargs: Any) -> Any:
            learns = bool(training) and layer.trainable
            self.hear(
                "normalised",
                lambda: BatchNormCalled(layer, learns, is_alone(layer, inputs, learns)),
            )
            return original(layer, inputs, training=training, **kwargs)

        return call
