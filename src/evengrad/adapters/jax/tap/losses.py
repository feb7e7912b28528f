"""The losses that a script differentiates, at ``jax.grad`` and ``jax.value_and_grad``, where flax and Equinox
come by as well.
"""

from __future__ import annotations

import functools
import math
import sys
from collections import deque
from collections.abc import Callable
from threading import local
from types import FrameType
from typing import Any

import jax
import numpy as np

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.source import is_own
from evengrad.adapters.jax import compat

_STEPS = {"update", "apply_gradients", "apply_updates"}
_COMPILING = "pjit.py"
_KEPT = 256


class _Depth(local):
    value = 0
    layered = True  # whether a layer was called in the function


Differentiating = Callable[
    [Any, tuple[Any, ...], dict[str, Any], Any, bool], Callable[[Any], object]
]
"""Is given a function that is about to be differentiated, its arguments, which of them by, and whether more
than the loss comes back; gives what is then given the gradients."""


class LossEars:
    """Hears them; an update asks for those of its own computation.

    Args:
        trouble: is told of an error of ours.
        calls: looks at each function that is differentiated, too; None where nobody does.
    """

    def __init__(
        self, trouble: Callable[[Exception], object], calls: Differentiating | None = None
    ) -> None:
        self.on = True
        self._calls = calls
        self._trouble = trouble
        self._depth = _Depth()
        self._fresh: list[Any] = []
        self._arrived: deque[float] = deque(maxlen=_KEPT)

    def put_on(self, patches: Patches) -> None:
        """From now on."""
        valued = jax.value_and_grad
        patches.wrap(jax, "value_and_grad", lambda original: self._hear(original, original, False))
        patches.wrap(jax, "grad", lambda original: self._hear(original, valued, True))

    def take(self, gradient: Any) -> Any:
        """The loss of the computation that this gradient is of, traced or not; None where it is of none."""
        traced = compat.is_traced(gradient)
        mine = [v for v in self._fresh if _together(v, gradient, traced)]
        self._fresh = [] if mine else [v for v in self._fresh if not compat.is_traced(v)]
        return mine[-1] if mine else None

    @property
    def differentiating(self) -> bool:
        """Whether a loss is being computed to be differentiated."""
        return self.on and self._depth.value > 0

    def first_layer(self) -> bool:
        """Whether it is, and no layer was called in it before; asked once for each call of a layer."""
        first = self.differentiating and not self._depth.layered
        self._depth.layered = True
        return first

    def told(self) -> float:
        """Mean of the losses that came by themselves since the last update."""
        found = [self._arrived.popleft() for _ in range(len(self._arrived))]
        return math.nan if not found else float(np.mean(found))

    def _hear(self, original: Any, valued: Any, alone: bool) -> Any:
        @functools.wraps(original)
        def transform(fun: Any, *args: Any, **kwargs: Any) -> Any:
            plain = original(fun, *args, **kwargs)
            if not callable(fun):
                return plain
            both = valued(fun, *args, **kwargs)
            chosen = kwargs.get("argnums", args[0] if args else 0)
            auxiliary = bool(kwargs.get("has_aux", args[1] if len(args) > 1 else False))

            @functools.wraps(plain)
            def call(*given: Any, **named: Any) -> Any:
                if not self.on or self._depth.value or "optax" not in sys.modules:
                    return plain(*given, **named)
                self._depth.value += 1
                self._depth.layered = False
                try:
                    look = None
                    if self._calls is not None:
                        look = self._calls(fun, given, named, chosen, auxiliary)
                    found = both(*given, **named)
                    value, gradient = found
                    if look is not None:
                        look(gradient)
                finally:
                    self._depth.value -= 1
                try:
                    self._heard(value[0] if auxiliary else value)
                except Exception as error:
                    self.on = False
                    self._trouble(error)
                if not alone:
                    return found
                return (gradient, value[1]) if auxiliary else gradient

            return call

        return transform

    def _heard(self, value: Any) -> None:
        if compat.is_traced(value):
            self._fresh = [*self._fresh[-7:], value]
            if compat.is_staged(value) and _steps_elsewhere():
                jax.debug.callback(self._came, value)
        else:
            self._fresh = [v for v in self._fresh if compat.is_traced(v)] + [value]

    def _came(self, value: Any) -> None:
        self._arrived.append(float(np.asarray(value).mean()))


def _together(loss: Any, gradient: Any, traced: bool) -> bool:
    if compat.is_traced(loss) != traced:
        return False
    return not traced or compat.trace_of(loss) is compat.trace_of(gradient)


def _steps_elsewhere() -> bool:
    """Whether the user's function that differentiates is none that steps: then the loss must come by itself. In
    Keras' own loops it does already.
    """
    if "keras" in sys.modules:
        return False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_own(frame.f_code.co_filename):
        if frame.f_code.co_filename.endswith(_COMPILING):
            return True  # what is compiled is the derivative itself
        frame = frame.f_back
    return frame is None or not _STEPS & set(frame.f_code.co_names)
