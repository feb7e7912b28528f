"""``evengrad.check`` for a Keras 3 model, on any backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.differentiate import Gradients, array, differentiate
from evengrad.adapters.keras.backend.state import is_built, untouched
from evengrad.adapters.keras.measure.measure import HEADS, Measured
from evengrad.adapters.keras.measure.rate import with_rate
from evengrad.adapters.keras.measure.update import coming_update, describe, loss_scale
from evengrad.adapters.keras.spec.specify import model_name, specify, versions
from evengrad.adapters.keras.trace.losses import DataLoss, Reading, in_range, targets
from evengrad.adapters.keras.trace.replay import Replay
from evengrad.adapters.keras.trace.trace import trace
from evengrad.adapters.keras.trace.weights import fan_in, names_of, penalty, trainables
from evengrad.errors import CannotCheckError
from evengrad.values.message import msg
from evengrad.values.probe import Loss, Probe, Weight
from evengrad.values.spec import ModelSpec
from evengrad.values.summary import rms_or_nan, summarise
from evengrad.values.wording import brief


def probe(
    model: Any,
    *,
    loss: Any = None,
    batch: Any,
    optimizer: Any = None,
    rate: bool = False,
    precise: bool = False,
) -> Probe:
    """Measure a model on one batch in training mode.

    A model not yet built is built on the batch, as ``fit`` would; nothing else of it is changed.

    Args:
        model: a Keras 3 model.
        loss: a name, a ``keras.losses.Loss``, a function, or None for the compiled one.
        batch: (x, y) or (x, y, sample_weight).
        optimizer: None for the compiled one, if any.
        rate: also measure the largest stable learning rate along the coming update, in at most 10 forward
            passes.
        precise: from the largest eigenvalue of the Hessian.

    Returns:
        What was measured.

    Raises:
        CannotCheckError: there is nothing to measure.
    """
    if not isinstance(model, keras.Model):
        raise CannotCheckError(
            msg(
                "Expected a keras.Model, got {kind}. Wrap it: keras.Sequential([layer]).",
                kind=type(model).__name__,
            )
        )
    data = _tensors(batch)
    data_loss = DataLoss(model, loss)
    _build(model, data[0])
    with untouched(model):
        optimizer = optimizer or getattr(model, "optimizer", None)
        probing = _Probing(model, data, data_loss, optimizer)
        found = probing.result()
        return probing.with_rate(found, precise) if rate and optimizer is not None else found


def _tensors(batch: Any) -> tuple[Any, Any, Any]:
    """The batch as backend tensors; floats as Keras' own adapters pass them on."""
    if not isinstance(batch, tuple | list) or not 1 <= len(batch) <= 3:
        raise CannotCheckError(
            msg(
                "Expected batch=(x, y) or (x, y, sample_weight), got {kind}.",
                kind=type(batch).__name__,
            )
        )

    def convert(value: Any) -> Any:
        if value is None:
            return None
        if not hasattr(value, "dtype"):
            value = np.asarray(value)
        dtype = keras.backend.standardize_dtype(value.dtype)
        return keras.ops.convert_to_tensor(
            value, keras.config.floatx() if "float" in dtype else None
        )

    x, y, weight = keras.utils.unpack_x_y_sample_weight(tuple(batch))
    x, y, weight = (keras.tree.map_structure(convert, part) for part in (x, y, weight))
    leaves = [v for v in keras.tree.flatten(x) if v is not None]
    if not leaves or any(len(v.shape) == 0 or 0 in v.shape for v in leaves):
        shapes = [tuple(v.shape) for v in leaves]
        raise CannotCheckError(
            msg("The batch is empty: its inputs have the shapes {shapes}.", shapes=shapes)
        )
    return x, y, weight


def _build(model: Any, x: Any) -> None:
    if is_built(model):
        return
    symbols = keras.tree.map_structure(
        lambda v: keras.KerasTensor(tuple(v.shape), keras.backend.standardize_dtype(v.dtype)), x
    )
    compat.symbolic_result(model, symbols, training=False)


class _Probing:
    """One probe of one model, step by step."""

    def __init__(self, model: Any, data: Any, loss: DataLoss, optimizer: Any) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.trainable = list(model.trainable_variables)
        if not self.trainable:
            raise CannotCheckError(
                msg(
                    "Expected a model with trainable weights, but it has none. Set `layer.trainable = True` "
                    "on at least one layer that has weights."
                )
            )
        ours = {id(v) for v in self.trainable}
        self.others = [v for v in model.variables if id(v) not in ours]
        self.totals: list[Any] = []
        self.trace = trace(model, data[0])
        self.notes = list(self.trace.notes)
        self.reading = self.loss.build(data[1], self.trace.outputs)
        self.targets = targets(data[1])
        self.data = (data[0], self._usable(data[1]), data[2])

    def _usable(self, y: Any) -> Any:
        outputs = keras.tree.flatten(self.trace.outputs)
        if self.reading.family != "sparse_categorical" or len(outputs) != 1:
            return y
        return in_range(y, int(outputs[0].shape[-1]), self.reading.ignored)

    def result(self) -> Probe:
        scale = loss_scale(self.optimizer) if self.optimizer is not None else 1.0

        def scaled(outputs: Any, data: Any) -> Any:
            value = self.loss(outputs, data)
            return value if scale == 1.0 else value * scale

        replay = Replay(self.trace, (self.trainable, self.others), scaled)
        found = self._gradients(replay.run)
        measured = Measured(replay, found, scale)
        penalties = self._penalties()
        weighed = trainables(self.model)
        names = names_of(self.model, [v for v, _ in weighed])
        ends, head, undone = self._ends(replay, found)
        weights = self._weights(measured, found, penalties, weighed, names, scale)
        spec = self._spec(weights)
        return Probe(
            frontend="keras",
            backend=keras.backend.backend(),
            versions=versions(),
            model=model_name(self.model),
            batch_size=int(keras.tree.flatten(self.data[0])[0].shape[0]),
            inputs=measured.inputs(self.data[0]),
            outputs=tuple(measured.port(number) for number in ends),
            operations=tuple(measured.operation(step, names) for step in replay.steps),
            weights=weights,
            loss=self._described(replay, measured, found, scale, penalties, head, undone),
            optimizer=None if self.optimizer is None else describe(self.optimizer),
            notes=(*self.notes, *compat.notes()),
            spec=spec,
            loss_scale=scale,
        )

    def _spec(self, weights: tuple[Weight, ...]) -> ModelSpec | None:
        """The model for a forecast; never a reason for a probe to fail."""
        try:
            return specify(self.model, self.trace, {w.name: w.value for w in weights})
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.notes.append(
                msg("the model could not be described for a forecast: {reason}", reason=reason)
            )
            return None

    def _gradients(self, run: Callable[..., Any], data: Any = None) -> Gradients:
        values = [v.value for v in self.trainable]
        return differentiate(run, values, [v.value for v in self.others], data or self.data)

    def _penalties(self) -> Gradients | None:
        if not any(v.regularizer is not None for v in self.trainable):
            return None
        return self._gradients(penalty(self.trainable))

    def _weights(
        self,
        measured: Measured,
        found: Gradients,
        penalties: Gradients | None,
        weighed: list[tuple[Any, Any]],
        names: dict[int, str],
        scale: float,
    ) -> tuple[Weight, ...]:
        order = {id(v): i for i, v in enumerate(self.trainable)}
        updates = self._updates(found, penalties, scale)
        made = []
        for variable, layer in weighed:
            i = order.get(id(variable))
            gradient = None if i is None else found.weights[i]
            term = None if i is None or penalties is None else penalties.weights[i]
            if i is not None and self.trainable[i].regularizer is None:
                term = None
            made.append(
                Weight(
                    name=names[id(variable)],
                    value=summarise(array(variable.value)),
                    fan_in=fan_in(variable, layer),
                    gradient=None if gradient is None else measured.unscaled(gradient),
                    penalty=0.0 if term is None else rms_or_nan(summarise(array(term))),
                    update=None if i is None else updates[i],
                )
            )
        return tuple(made)

    def with_rate(self, found: Probe, precise: bool) -> Probe:
        """With the largest stable learning rate."""
        if not self.totals:
            return found
        run = Replay(self.trace, (self.trainable, self.others), self.loss).run
        others = [v.value for v in self.others]
        step = self.optimizer, self.trainable, self.totals
        return with_rate(found, *step, run, others, self.data, precise=precise)

    def _updates(
        self, found: Gradients, penalties: Gradients | None, scale: float
    ) -> list[float | None]:
        nothing: list[float | None] = [None] * len(self.trainable)
        if self.optimizer is None:
            return nothing
        total: list[Any] = [g if g is None or scale == 1.0 else g / scale for g in found.weights]
        for i, term in enumerate(penalties.weights if penalties is not None else ()):
            if term is not None:
                total[i] = term if total[i] is None else total[i] + term
        self.totals = total
        try:
            return coming_update(self.optimizer, self.trainable, total)
        except Exception as error:
            self.notes.append(
                msg("the coming update could not be worked out: {brief}", brief=brief(error))
            )
            return nothing

    def _ends(self, replay: Replay, found: Gradients) -> tuple[list[int], str | None, bool]:
        """Tensors before a closing softmax or sigmoid, that activation, and whether the loss goes
        round it: then no gradient comes through it.
        """
        makers = {number: step for step in replay.steps for number in step.makes}
        ends, heads, round_it = [], [], []
        for leaf in keras.tree.flatten(self.trace.outputs):
            number = replay.number(leaf)
            maker = makers.get(number)
            if maker is not None and maker.type in HEADS and len(maker.reads) == 1:
                ends.append(maker.reads[0][0])
                heads.append(maker.type)
                round_it.append(found.taps.get(str(number)) is None)
            elif str(number) in found.kept:
                ends.append(number)
                heads.append("")
        if len(set(heads)) == 1 and heads[0]:
            return ends, heads[0], any(round_it)
        return ends, None, False

    def _described(
        self,
        replay: Replay,
        measured: Measured,
        found: Gradients,
        scale: float,
        penalties: Gradients | None,
        head: str | None,
        undone: bool,
    ) -> Loss:
        reading: Reading = self.reading
        leaves = keras.tree.flatten(self.trace.outputs)
        number = replay.number(leaves[0])
        output = measured.forward(number) if str(number) in found.kept else None
        return Loss(
            name=reading.name,
            value=float(array(found.value)) / scale,
            family=reading.family,
            reads=reading.reads,
            head=head,
            undone=undone,
            penalty=0.0 if penalties is None else float(array(penalties.value)),
            output=output,
            classes=None if output is None or len(output.shape) < 2 else output.shape[-1],
            targets=self.targets,
            ignored=reading.ignored,
        )
