"""On TensorFlow: from the armed step on functions run eagerly, and a callback sees every operation."""

from __future__ import annotations

import sys
import weakref
from functools import wraps
from types import FrameType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.sessions import Armed, InquirySession
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.born import frames, ledger
from evengrad.adapters.keras.born.ledger import BadSource, CallSite, Computed

_SKIPPED = 64  # steps that a loss scaler may have left out of its optimizer's count
_READING = "ReadVariableOp"
_BATCH = ("IteratorGetNext", "OptionalGetValue", "IteratorGetNextAsOptional")


def arm(session: InquirySession) -> Armed:
    """From the session's step on, every operation is looked at."""
    inquiry, patches = _TensorFlowInquiry(session), Patches()
    inquiry.put_on(patches)
    patches.on_undo(inquiry.stop)
    return Armed(disarm=patches.undo, flush=lambda: None)


class _TensorFlowInquiry:
    def __init__(self, session: InquirySession) -> None:
        self.session = session
        self.watch = _OperationWatch()
        self._optimizers: Any = weakref.WeakSet()
        self._scaled = False
        self._per_call = 1
        self._on = False
        self._depth = 0

    def put_on(self, patches: Patches) -> None:
        """Every seam by which a step can be told."""
        optimizer = keras.optimizers.Optimizer
        patches.wrap(optimizer, "__init__", self._making)
        patches.wrap(optimizer, "apply", self._applying)
        patches.wrap(type(tf.function(lambda: None)), "__call__", self._calling)
        patches.wrap(tf.GradientTape, "gradient", self._differentiating)
        patches.wrap(keras.layers.Layer, "__call__", self._layering)
        for name in ("fit", "train_on_batch"):
            patches.wrap(keras.Model, name, self._fitting)
        for name in ("predict", "evaluate"):
            patches.wrap(keras.Model, name, self._resting)
        self._start_if_due()

    # --- when ----------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Updates so far, of all optimizers."""
        return sum(int(o.iterations.numpy()) for o in self._optimizers)

    def _start_if_due(self) -> None:
        if self._on:
            return
        due = self.session.step - (_SKIPPED if self._scaled else 0)
        if self.steps + self._per_call > due:
            self._on = True
            self.start()

    def start(self) -> None:
        """Look at every operation."""
        tf.config.run_functions_eagerly(True)
        compat.add_op_callback(self.watch.seen)

    def stop(self) -> None:
        """Look no more."""
        if self._on:
            self._on = False
            compat.remove_op_callback(self.watch.seen)
            tf.config.run_functions_eagerly(False)

    def _born(self, source: BadSource) -> None:
        fact = ledger.fact_of(source, self.steps)
        self.session.born(fact)

    # --- seams ---------------------------------------------------------------------------------

    def _making(self, original: Any) -> Any:
        @wraps(original)
        def make(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
                self._scaled = True
            result = original(optimizer, *args, **kwargs)
            if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
                self._optimizers.add(optimizer)
            return result

        return make

    def _calling(self, original: Any) -> Any:
        """A tf.function: before the outermost call it may be time to begin."""

        @wraps(original)
        def call(function: Any, *args: Any, **kwargs: Any) -> Any:
            if self._on or self._depth or not tf.executing_eagerly():
                return original(function, *args, **kwargs)
            self._start_if_due()
            before = self.steps
            self._depth += 1
            try:
                return original(function, *args, **kwargs)
            finally:
                self._depth -= 1
                self._per_call = max(self._per_call, self.steps - before)

        return call

    def _fitting(self, original: Any) -> Any:
        @wraps(original)
        def fit(model: Any, *args: Any, **kwargs: Any) -> Any:
            self._per_call = max(self._per_call, int(model.steps_per_execution or 1))
            self._start_if_due()
            return original(model, *args, **kwargs)

        return fit

    def _resting(self, original: Any) -> Any:
        """Not in an evaluation, which costs most."""

        @wraps(original)
        def rest(*args: Any, **kwargs: Any) -> Any:
            was, self._on = self._on, True
            if was:
                self.stop()
            try:
                return original(*args, **kwargs)
            finally:
                self._on = was
                if was:
                    self.start()

        return rest

    def _differentiating(self, original: Any) -> Any:
        @wraps(original)
        def gradient(tape: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
            if self._on and tf.executing_eagerly():
                found = self.watch.sources(keras.tree.flatten(target))
                found = [s for s in found if not self.watch.of_scaling(s)]
                if found:
                    self._born(ledger.first(found))
            return original(tape, target, *args, **kwargs)

        return gradient

    def _applying(self, original: Any) -> Any:
        @wraps(original)
        def apply(optimizer: Any, grads: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
                return original(optimizer, grads, *args, **kwargs)
            if not self._on:
                result = original(optimizer, grads, *args, **kwargs)
                if tf.executing_eagerly():
                    self._start_if_due()
                return result
            found = self.watch.sources(grads)
            if found:
                self._born(ledger.first(found))
            self.watch.phase = "update"
            try:
                result = original(optimizer, grads, *args, **kwargs)
            finally:
                self.watch.phase = "forward"
            self._updated(optimizer)
            self.watch.turn()
            return result

        return apply

    def _updated(self, optimizer: Any) -> None:
        trained = compat.trained_by(optimizer)
        bad = [v for v in trained if not ledger.finite(ledger.floats(v.numpy()))]
        if bad and self.watch.spoiled:
            source = ledger.first(self.watch.spoiled)
            source.values["weight"] = bad[0].path
            self._born(source)

    def _layering(self, original: Any) -> Any:
        @wraps(original)
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._on:
                return original(layer, *args, **kwargs)
            self.watch.layers.append(layer)
            try:
                return original(layer, *args, **kwargs)
            finally:
                self.watch.layers.pop()

        return call


class _OperationWatch:
    """Sees each operation. phase: of the step. layers: those that are being called, the innermost last."""

    def __init__(self) -> None:
        self.phase = "forward"
        self.layers: list[Any] = []
        self.spoiled: list[BadSource] = []
        self._made: list[dict[Any, Computed]] = [{}, {}]
        self._last: dict[str, list[Computed]] = {}
        self._bad: dict[int, BadSource] = {}
        self._number = 0

    def turn(self) -> None:
        """A step is over: what was made before the last one is forgotten."""
        self._made = [{}, self._made[0]]
        self._last.clear()
        self.spoiled.clear()

    def seen(
        self,
        kind: Any,
        inputs: Any,
        _attrs: Any,
        outputs: Any,
        op_name: Any = None,  # noqa: ARG002
        graph: Any = None,
    ) -> None:
        """TensorFlow calls this behind each operation."""
        if graph is not None:
            return
        kind = kind.decode() if isinstance(kind, bytes) else str(kind)
        frame = sys._getframe(1)
        values = [v for v in map(ledger.floats, outputs) if v is not None]
        if not values:
            self._assigned(inputs)
            return
        made = self._make(kind, inputs, outputs, frame)
        if not all(map(ledger.finite, values)):
            self._trace(made, outputs, frame)

    def sources(self, tensors: Any) -> list[BadSource]:
        """Where what is not finite in these comes from."""
        sparse = (tf.IndexedSlices,)
        values = [t.values if isinstance(t, sparse) else t for t in tensors]
        found = [self._bad.get(compat.eager_number(v)) for v in values]
        return [source for source in found if source is not None]

    @staticmethod
    def of_scaling(source: BadSource) -> bool:
        """Whether it was made by a loss scale, which is taken back when it overflows."""
        return source.made is not None and "scale_loss" in source.made.root.site.functions

    # --- one operation -------------------------------------------------------------------------

    def _make(self, kind: str, inputs: Any, outputs: Any, frame: FrameType) -> Computed:
        self._number += 1
        gradient = next(
            (f for f in frames.outwards(frame) if f.f_code is compat.gradient_code()), None
        )
        layer = self.layers[-1].name if self.layers else None
        here = frames.site(frame, layer, None)
        phase, parent = self.phase, None
        if phase != "update" and gradient is not None:
            phase, parent = "backward", self._forward_of(gradient)
        made = Computed(self._number, kind, here, phase, tuple(inputs), parent)
        if gradient is not None:
            made.hidden = _is_hidden(gradient, outputs)
        for output in outputs:
            self._made[0][compat.eager_number(output)] = made
        self._last.setdefault(kind, []).append(made)
        return made

    def _forward_of(self, gradient: FrameType) -> Computed | None:
        """The operation whose gradient function that frame is."""
        given = gradient.f_locals
        for tensor in (*(given["outputs"] or ()), *(given["inputs"] or ())):
            number = compat.eager_number(tensor)
            for table in self._made:
                found = table.get(number)
                if found is not None and found.kind == given["op_name"]:
                    return found
        read = {compat.eager_number(t) for t in given["inputs"] or ()} - {None}
        for made in reversed(self._last.get(given["op_name"], ())):
            if not read or read <= {compat.eager_number(t) for t in made.inputs}:
                return made
        return None

    def _trace(self, made: Computed, outputs: Any, frame: FrameType) -> None:
        bad = [v for v in outputs if not _is_finite(v)]
        source = self._source(made, bad[0], frame)
        for output in bad:
            self._bad[compat.eager_number(output)] = source

    def _source(self, made: Computed, output: Any, frame: FrameType) -> BadSource:
        before = [self._known(v, frame, made.site) for v in made.inputs if not _is_finite(v)]
        if before:
            found = ledger.first(before)
            nan = any(map(_has_nan, made.inputs))
            if not (found.deliberate and not nan and _has_nan(output)):
                return found
        elif made.kind == _READING:
            return self._weights(made)
        elif made.kind in _BATCH:
            return BadSource(made.number, None, "batch", values=_of(output))
        role = "constant" if before else self._role(made, frame)
        return BadSource(
            made.number, made, role, values=_share(output), overflow=not _has_nan(output)
        )

    def _known(self, tensor: Any, frame: FrameType, site: CallSite) -> BadSource:
        """Of an operation's argument that is not finite."""
        number = compat.eager_number(tensor)
        source = self._bad.get(number)
        if source is None:
            source = BadSource(self._number, None, "constant", values=_of(tensor))
            self._bad[number] = source
        if source.made is None and source.site is None:
            source.site = site
            if source.role != "weights":
                named = frames.named(frame, lambda v: v is tensor)
                source.role, source.name = named or (source.role, source.name)
                if source.role == "batch" and frames.in_loss(frame):
                    source.role = "targets"
        return source

    def _weights(self, made: Computed) -> BadSource:
        handle = made.inputs[0]
        own = [v for layer in self.layers[:1] for v in layer.variables]
        name = next((v.path for v in own if v.value.handle is handle), None)
        return BadSource(made.number, None, "weights", name, made.site)

    def _role(self, made: Computed, frame: FrameType) -> str:
        """Of the operand of an operation that bears something not finite."""
        if made.site.loss is not None:
            return "output"
        place = 1 if made.kind in ("RealDiv", "Xdivy") else 0
        if place < len(made.inputs):
            operand = made.inputs[place]
            named = frames.named(frame, lambda v: v is operand)
            if named is not None and made.phase == "forward" and not self.layers:
                return named[0] if named[0] in ("targets", "output") else "activation"
        return "activation"

    def _assigned(self, inputs: Any) -> None:
        """A variable gets something; what is not finite may be a weight's."""
        if self.phase == "update":
            self.spoiled += self.sources(inputs)


def _is_finite(tensor: Any) -> bool:
    values = ledger.floats(tensor)
    return values is None or ledger.finite(values)


def _has_nan(tensor: Any) -> bool:
    values = ledger.floats(tensor)
    return values is not None and bool(np.isnan(values).any())


def _share(tensor: Any) -> dict[str, Any]:
    return {"share": ledger.share(ledger.floats(tensor)), "dtype": tensor.dtype.name}


def _of(tensor: Any) -> dict[str, Any]:
    return ledger.figures(ledger.floats(tensor)) | _share(tensor)


def _is_hidden(gradient: FrameType, outputs: Any) -> bool:
    """Whether nothing comes back where the gradient is not finite."""
    values = ledger.floats(outputs[0])
    if values is None or ledger.finite(values):
        return False
    for tensor in gradient.f_locals["out_grads"] or ():
        back = ledger.floats(tensor)
        if back is not None and back.shape == values.shape:
            return bool((back[~np.isfinite(values)] == 0).all())
    return False
