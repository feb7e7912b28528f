"""What a training is to learn, heard where its loss is computed: labels, the loss' own mean, the inputs."""

from __future__ import annotations

import functools
import inspect
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evengrad.adapters.common.importing import when_imported
from evengrad.adapters.common.patching import Patches
from evengrad.adapters.jax import compat
from evengrad.adapters.jax.measure.scopes import LAYERS
from evengrad.adapters.jax.tap.losses import LossEars
from evengrad.recording.lesson import Lesson
from evengrad.recording.session import Watching

_KINDS = {
    "softmax_cross_entropy_with_integer_labels": "crossentropy",
    "softmax_cross_entropy": "crossentropy",
    "sigmoid_binary_cross_entropy": "binary_crossentropy",
    "squared_error": "mse",
}
_LARGEST = 1 << 16
_OFTEN = 8  # steps between two writings


class HeardLessons:
    """Of all optimizers of a script; only the first one's run is told.

    Args:
        ears: that know whether a loss is being differentiated.
        trouble: is told of an error of ours.
    """

    def __init__(self, ears: LossEars, trouble: Callable[[Exception], object]) -> None:
        self._ears, self._trouble = ears, trouble
        self._lesson = Lesson()
        self._lock = Lock()
        self._own: deque[tuple[str, Any, float]] = deque(maxlen=64)
        self._losses: deque[float] = deque(maxlen=64)
        self._first: int | None = None

    def put_on(self, patches: Patches, wanted: Callable[[], bool]) -> None:
        """Hear optax' losses and flax' and Equinox' layers. wanted: whether still."""

        def losses(optax: Any) -> None:
            for name, kind in _KINDS.items():
                if wanted() and hasattr(optax, name):
                    patches.wrap(optax, name, functools.partial(self._hear_loss, kind))

        def layers(module: Any) -> None:
            for name in LAYERS:
                layer = getattr(module, name, None)
                if wanted() and inspect.isclass(layer) and "__call__" in vars(layer):
                    patches.wrap(layer, "__call__", self._hear_layer)

        when_imported("optax", losses)
        for name in ("flax.linen", "flax.nnx", "equinox.nn"):
            when_imported(name, layers)

    def stepped(self, watching: Watching, loss: float) -> None:
        """A step of a run, with its loss."""
        self._first = id(watching) if self._first is None else self._first
        if self._first != id(watching) or self._lesson.full:
            return
        with self._lock:
            self._losses.append(loss)
            while self._losses and self._own:
                kind, labels, own = self._own.popleft()
                self._lesson.targets(kind, labels)
                self._lesson.backpropagated(self._losses.popleft(), (own,))
                self._lesson.stepped(1)
            if self._lesson.passes < 2 or self._lesson.passes % _OFTEN == 0 or self._lesson.full:
                watching.seen(**self._lesson.values())

    # --- where it is computed --------------------------------------------------------------------

    def _hear_loss(self, kind: str, original: Any) -> Any:
        @functools.wraps(original)
        def loss(*args: Any, **kwargs: Any) -> Any:
            found = original(*args, **kwargs)
            try:
                if self._ears.differentiating and not self._lesson.full:
                    labels = (
                        args[1] if len(args) > 1 else kwargs.get("labels", kwargs.get("targets"))
                    )
                    self._send(self._targets, kind, labels, found)
            except Exception as error:
                self._trouble(error)
            return found

        return loss

    def _hear_layer(self, original: Any) -> Any:
        @functools.wraps(original)
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                if self._ears.first_layer() and args and not self._lesson.full:
                    name = str(getattr(layer, "name", None) or type(layer).__name__)
                    self._send_input(name, args[0])
            except Exception as error:
                self._trouble(error)
            return original(layer, *args, **kwargs)

        return call

    def _send(self, to: Any, kind: str, labels: Any, value: Any) -> None:
        if labels is None or np.size(labels) > _LARGEST or compat.is_batched(value):
            return
        own = jnp.mean(value)
        jax.debug.callback(functools.partial(to, kind), jax.lax.stop_gradient(labels), own)

    def _send_input(self, name: str, values: Any) -> None:
        if not jnp.issubdtype(jnp.result_type(values), jnp.floating) or compat.is_batched(values):
            return
        wide = jax.lax.stop_gradient(values).astype(jnp.float32)
        size = jnp.sqrt(jnp.mean(wide * wide))
        jax.debug.callback(functools.partial(self._given, name), size, jnp.max(jnp.abs(wide)))

    # --- on the host -----------------------------------------------------------------------------

    def _targets(self, kind: str, labels: Any, own: Any) -> None:
        if not self._lesson.full:
            with self._lock:
                self._own.append((kind, np.asarray(labels), float(own)))

    def _given(self, name: str, size: Any, largest: Any) -> None:
        if not self._lesson.full:
            with self._lock:
                self._lesson.given(name, float(size), float(largest))
