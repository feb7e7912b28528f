"""On JAX: from the armed step on nothing is compiled, and a patch sees every primitive that is evaluated."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.sessions import Armed, InquirySession
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.born import frames, ledger, words
from evengrad.adapters.keras.born.ledger import BadSource, CallSite, Computed

_Place = tuple[tuple[Any, int], ...]
_SLOPES = ("sqrt", "log", "rsqrt", "acos", "asin", "pow", "log1p", "cbrt")
_WITHIN = (os.path.dirname(jax.__file__) + os.sep, str(Path(__file__).parents[3]) + os.sep)


def arm(session: InquirySession) -> Armed:
    """From the session's step on, every primitive is looked at; a loop of the script's own from its start."""
    inquiry, patches = _JaxInquiry(session), Patches()
    inquiry.put_on(patches)
    patches.on_undo(inquiry.stop)
    return Armed(disarm=patches.undo, flush=lambda: None)


class _JaxInquiry:
    def __init__(self, session: InquirySession) -> None:
        self.session = session
        self.watch = _PrimitiveWatch()
        self.steps = 0
        self._scaled = False
        self._fitting = 0

    def put_on(self, patches: Patches) -> None:
        """Every seam by which a step can be told."""
        patches.wrap(keras.Model, "fit", self._around_fit)
        patches.wrap(keras.Model, "train_on_batch", self._around_fit)
        patches.wrap(keras.Model, "make_train_function", self._making)
        patches.wrap(keras.optimizers.Optimizer, "build", self._building)
        patches.wrap(keras.layers.Layer, "__call__", self._layering)
        patches.wrap(jax, "value_and_grad", lambda f: self._differentiating(f, True))
        patches.wrap(jax, "grad", lambda f: self._differentiating(f, False))
        patches.wrap(compat.eval_trace(), "process_primitive", self.watch.around)

    def start(self) -> None:
        """Compile nothing."""
        self.watch.on = True
        jax.config.update("jax_disable_jit", True)

    def stop(self) -> None:
        """As it was."""
        if self.watch.on:
            self.watch.on = False
            jax.config.update("jax_disable_jit", False)

    # --- seams ---------------------------------------------------------------------------------

    def _around_fit(self, original: Any) -> Any:
        @wraps(original)
        def fit(*args: Any, **kwargs: Any) -> Any:
            self._fitting += 1
            try:
                return original(*args, **kwargs)
            finally:
                self._fitting -= 1

        return fit

    def _building(self, original: Any) -> Any:
        @wraps(original)
        def build(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
                self._scaled = True
            if not self._fitting:
                self.start()  # a loop of the script's own: its steps are not counted
            return original(optimizer, *args, **kwargs)

        return build

    def _making(self, original: Any) -> Any:
        @wraps(original)
        def make(model: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(model, *args, **kwargs)
            if not hasattr(model.train_function, "__inquiry__"):
                model.train_function = self._counted(model, model.train_function)
            return result

        return make

    def _counted(self, model: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def train(*args: Any) -> Any:
            many = int(model.steps_per_execution or 1)
            if self.steps + many > self.session.step:
                self.start()
            try:
                result = function(*args)
            finally:
                self.stop()
            self.steps += many
            return result

        vars(train)["__inquiry__"] = True
        return train

    def _layering(self, original: Any) -> Any:
        @wraps(original)
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            self.watch.layers.append(layer)
            try:
                return original(layer, *args, **kwargs)
            finally:
                self.watch.layers.pop()

        return call

    def _differentiating(self, original: Any, valued: bool) -> Any:
        @wraps(original)
        def make(*args: Any, **kwargs: Any) -> Any:
            inner = original(*args, **kwargs)

            @wraps(inner)
            def call(*given: Any, **named: Any) -> Any:
                found = inner(*given, **named)
                if self.watch.on:
                    value = jax.tree_util.tree_leaves(found[0])[:1] if valued else []
                    self._judge(value, jax.tree_util.tree_leaves(found[1] if valued else found))
                return found

            return call

        return make

    def _judge(self, value: list[Any], gradients: list[Any]) -> None:
        """A loss and its gradients."""
        found = self.watch.sources(value)
        if not found and not self._scaled:
            found = self.watch.sources(gradients)
            for source in found:
                if source.made is not None:
                    source.made.phase = "backward"
        if found:
            self.session.born(ledger.fact_of(ledger.first(found), self.steps))
        self.watch.turn()


class _PrimitiveWatch:
    """Sees each primitive. layers: those that are being called, the innermost last."""

    def __init__(self) -> None:
        self.on = False
        self.layers: list[Any] = []
        self._kept: list[Any] = []  # so that no id is given twice within a step
        self._bad: dict[int, BadSource] = {}
        self._sites: dict[_Place, CallSite] = {}
        self._forward: dict[int, list[Computed]] = {}
        self._number = 0

    def turn(self) -> None:
        """A step is over."""
        for table in (self._bad, self._sites, self._forward):
            table.clear()
        self._kept.clear()

    def around(self, original: Any) -> Any:
        """The evaluation of a primitive."""

        @wraps(original)
        def process(trace: Any, primitive: Any, args: Any, params: Any) -> Any:
            result = original(trace, primitive, args, params)
            if self.on:
                self.on = False  # what is looked at here is evaluated too
                try:
                    self._seen(primitive.name, args, result)
                finally:
                    self.on = True
            return result

        return process

    def sources(self, tensors: list[Any]) -> list[BadSource]:
        """Where what is not finite in these comes from."""
        found = [self._bad.get(id(v)) for v in tensors]
        return [source for source in found if source is not None]

    def _seen(self, kind: str, inputs: Any, result: Any) -> None:
        outputs = result if isinstance(result, list | tuple) else [result]
        if kind == "device_put":
            self._moved(inputs, outputs)
            return
        # Older versions give a constant as a number of Python.
        inputs = [np.float64(v) if type(v) is float else v for v in inputs]
        made = self._computed(kind, inputs)
        self._kept.append((inputs, outputs))
        bad = [v for v in outputs if not _is_finite(v)]
        if not bad:
            return
        source = self._source(made, bad[0], inputs)
        for output in bad:
            self._bad[id(output)] = source

    def _moved(self, inputs: Any, outputs: Any) -> None:
        """What is only put on a device: whose it is, its first operation tells (data are put there ahead of
        the step that they are for).
        """
        self._kept.append((inputs, outputs))
        for given, output in zip(inputs, outputs, strict=False):
            if id(given) in self._bad:
                self._bad[id(output)] = self._bad[id(given)]

    def _computed(self, kind: str, inputs: Any) -> Computed:
        self._number += 1
        place, backward = compat.jax_place()
        place = tuple(p for p in place if not p[0].co_filename.startswith(_WITHIN))
        known = self._sites.get(place)
        if known is None:
            layer = self.layers[-1].name if self.layers else None
            known = self._sites[place] = frames.site_of(place, layer)
        made = Computed(
            self._number, kind, known, "backward" if backward else "forward", tuple(inputs)
        )
        before = self._forward.setdefault(id(known), [])
        if backward:
            made.parent = _main(before)
        else:
            before.append(made)
        return made

    def _source(self, made: Computed, output: Any, inputs: Any) -> BadSource:
        before = [self._known(v, made.site) for v in inputs if not _is_finite(v)]
        if before:
            found = ledger.first(before)
            self._mark_hidden(found, inputs, output)
            nan = any(map(_has_nan, inputs))
            if not (found.deliberate and not nan and _has_nan(output)):
                return found
        elif made.phase == "backward":
            made.hidden = _zero_where_bad(inputs[0], output)
        elif made.parent is None:
            made.parent = _sloped(made, self._forward[id(made.site)])
        role = "constant" if before else "output" if made.site.loss else "activation"
        return BadSource(
            made.number, made, role, values=_share(output), overflow=not _has_nan(output)
        )

    def _mark_hidden(self, source: BadSource, inputs: Any, output: Any) -> None:
        """The first time that a gradient meets an infinite slope: is it 0 there?"""
        if source.made is None or "met" in source.values or len(inputs) < 2:
            return
        source.values["met"] = True
        others = [v for v in inputs if _is_finite(v)]
        source.made.hidden = any(_zero_where_bad(v, output) for v in others)

    def _known(self, tensor: Any, site: CallSite) -> BadSource:
        source = self._bad.get(id(tensor))
        if source is None:
            frame = sys._getframe(1)
            role, name = frames.named(frame, lambda v: _same(v, tensor)) or ("constant", None)
            source = BadSource(self._number, None, role, name, site, _of(tensor))
            self._bad[id(tensor)] = source
            self._kept.append(tensor)
        return source


def _same(value: Any, tensor: Any) -> bool:
    """Whether a value is what a tensor was made of; an array of NumPy's becomes another object."""
    if value is tensor:
        return True
    shape = getattr(value, "shape", None)
    if shape != tensor.shape or not shape:
        return False
    values, own = ledger.floats(value), ledger.floats(tensor)
    return values is not None and bool(np.array_equal(values, own, equal_nan=True))


def _main(made: list[Computed]) -> Computed | None:
    """Of the primitives that one expression is made of, the first that has a name: slopes come behind it."""
    named = [m for m in made if words.operation(m.site.functions, m.kind) != "other"]
    return (named or made)[0] if made else None


def _sloped(made: Computed, before: list[Computed]) -> Computed | None:
    """Of a slope that is worked out beside the forward pass: the primitive whose slope it is."""
    found = _main([m for m in before if m.number < made.number])
    slope = words.operation((), made.kind) in ("divide", "other", "pow", "rsqrt")
    return found if slope and found is not None and found.kind in _SLOPES else None


def _zero_where_bad(given: Any, output: Any) -> bool:
    values, result = ledger.floats(given), ledger.floats(output)
    if values is None or result is None or values.shape != result.shape:
        return False
    bad = ~np.isfinite(result)
    return bool(bad.any() and (values[bad] == 0).all())


def _is_finite(value: Any) -> bool:
    values = ledger.floats(value)
    return values is None or ledger.finite(values)


def _has_nan(value: Any) -> bool:
    values = ledger.floats(value)
    return values is not None and bool(np.isnan(values).any())


def _share(value: Any) -> dict[str, Any]:
    return {"share": ledger.share(ledger.floats(value)), "dtype": str(value.dtype)}


def _of(value: Any) -> dict[str, Any]:
    return ledger.figures(ledger.floats(value)) | _share(value)
