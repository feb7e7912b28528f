"""One Keras model being watched: attaches the tap, reads what it wrote, and carries out what the guard says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from evengrad import clip as clips
from evengrad import guard as guards
from evengrad.adapters.keras.batches import Batches
from evengrad.adapters.keras.probe import probe
from evengrad.adapters.keras.ring import LOSS, Ring, Row
from evengrad.adapters.keras.specify import model_name, versions
from evengrad.adapters.keras.tap import Tap
from evengrad.adapters.keras.weights import fan_in, names_of, trainables
from evengrad.blackbox import BlackBox, Origin
from evengrad.errors import EvengradError
from evengrad.guard import Action
from evengrad.monitor import gradient_rms
from evengrad.origins import origin_of
from evengrad.run import Detail, Floats, Kind, Step, Subject, Tensor
from evengrad.watching import Held, Settings, Watching

_SMALL = 1 << 16  # elements of a variable that is kept; moving statistics are below
_SAMPLE = 1 << 16
_LONGEST = 32  # steps between two reads of the ring


class Watcher:
    """Attached to a compiled, built model until ``detach``. begin: makes the Watching of a subject."""

    def __init__(
        self, model: Any, settings: Settings, begin: Callable[[Subject], Watching], script: str = ""
    ) -> None:
        self.model = model
        self.settings = settings
        self._optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        self._variables = list(model.trainable_variables)
        if not self._variables:
            raise EvengradError("Expected a model with trainable weights, but it has none.")
        _expect_moments(settings, self._optimizer)
        self._names = names_of(model, self._variables)
        self.tensors = _tensors(model, self._variables, self._names)
        subject = _subject(model, self._optimizer, self.tensors, settings, script)
        size = max(min(settings.every, _LONGEST), 10, 2 * model.steps_per_execution)
        spoilt = _spoilt(model)
        inside = spoilt if _jax() else []
        self._ring = Ring(self._optimizer, len(self._variables), size, settings, inside)
        self._kept = list(
            zip(spoilt, self._ring.copies if _jax() else _copies(spoilt), strict=True)
        )
        self._batches = Batches(model, self._frozen)
        self._read = 0
        self._held = 0
        self._before: dict[int, tuple[Any, float]] = {}
        self._snapshot: list[tuple[Any, Any]] = []
        self._for_logs: list[Row] = []
        self._attached = False
        self.watching = begin(subject)
        self._attach()
        self._set_reach([_rms(v) for v in self._variables])

    # --- attaching -----------------------------------------------------------------------------

    def _attach(self) -> None:
        model = self.model
        kept = [] if _jax() else self._kept
        self._tap = Tap(
            self._optimizer, self._variables, self.tensors, self._ring, self.settings, kept
        )
        self._original = {
            name: model.__dict__.get(name) for name in ("train_step", "make_train_function")
        }
        step, make = model.train_step, model.make_train_function
        model.train_step = self._stateless(step) if _jax() else self._stateful(step)

        def make_train_function(force: bool = False) -> Any:
            made = model.train_function is None or force
            with self._batches.making():
                result = make(force)
            if made:
                model.train_function = self._batches.wrap(model.train_function)
            return result

        model.make_train_function = make_train_function
        self._optimizers = [model.optimizer]
        for optimizer in self._optimizers:
            optimizer.save_own_variables = self._plainly(optimizer.save_own_variables)
            optimizer.load_own_variables = self._plainly(optimizer.load_own_variables)
        model.train_function = None
        self._attached = True

    def detach(self) -> None:
        """Take everything out of the model and its optimizer again; twice is once."""
        if not self._attached:
            return
        self._attached = False
        model = self.model
        self._sync()
        self._tap.remove()
        for optimizer in self._optimizers:
            del optimizer.save_own_variables, optimizer.load_own_variables
        for name, original in self._original.items():
            delattr(model, name)
            if original is not None:
                setattr(model, name, original)
        self._ring.take_out()
        model.train_function = None

    def _plainly(self, method: Any) -> Any:
        """Saving and loading see the optimizer as it is without us."""

        def call(store: Any) -> Any:
            self._ring.take_out()
            try:
                return method(store)
            finally:
                self._ring.put_in()

        return call

    # --- inside the step -----------------------------------------------------------------------

    def _stateful(self, original: Any) -> Any:
        """TensorFlow and PyTorch: around ``train_step(data)``."""
        ring, tracker = self._ring, self.model._loss_tracker

        def train_step(data: Any) -> Any:
            self._batches.note(data)
            ring.write(ops.zeros(ring.rows.shape[1:], "float32"))
            before = (
                ops.copy(ops.convert_to_tensor(tracker.total)),
                ops.copy(ops.convert_to_tensor(tracker.count)),
            )
            logs = original(data)
            loss = _loss(before, (tracker.total, tracker.count))
            place = ring.place()
            ring.rows.assign(_with_loss(ops.convert_to_tensor(ring.rows), place, loss))
            ring.status.assign(ops.convert_to_tensor(ring.status) + _first(4))
            return logs

        return train_step

    def _stateless(self, original: Any) -> Any:
        """JAX: around ``train_step(state, data)``, a pure function."""
        ring, model = self._ring, self.model

        def train_step(state: Any, data: Any) -> Any:
            trainable, others, own, metrics = state
            rows, status = self._place(ring.rows), self._place(ring.status)
            own = list(own)
            now = ops.cast(own[status][0], "int32") % ring.size
            place = ops.expand_dims(ops.equal(ops.arange(ring.size, dtype="int32"), now), 1)
            own[rows] = ops.where(place, 0.0, own[rows])
            # Copies, and not a choice among the new values: that would have XLA compute them otherwise.
            frozen = own[status][1] > own[status][3]
            for variable, copy in self._kept:
                old = others[_position(model.non_trainable_variables, variable)]
                at = self._place(copy)
                own[at] = ops.where(frozen, own[at], ops.cast(old, "float32"))
            logs, (trainable, others, own, new_metrics) = original(
                (trainable, others, own, metrics), data
            )
            own = list(own)
            t, c = (
                _position(model.metrics_variables, v)
                for v in (model._loss_tracker.total, model._loss_tracker.count)
            )
            loss = _loss((metrics[t], metrics[c]), (new_metrics[t], new_metrics[c]))
            own[rows] = _with_loss(own[rows], place, loss)
            own[status] = own[status] + _first(4)
            return logs, (trainable, others, own, new_metrics)

        return train_step

    def _frozen(self) -> Any:
        """In the graph: whether a batch that was held back is still to be looked at."""
        status = ops.convert_to_tensor(self._ring.status)
        return status[1] > status[3]

    def _place(self, variable: Any) -> int:
        return _position(self.model.optimizer.variables, variable)

    # --- on the host ---------------------------------------------------------------------------

    def batch_begin(self) -> None:
        """Before a step: what an observed one will change."""
        with self._safely():
            alone = self.model.steps_per_execution == 1
            if alone and self.settings.observed(self._begun()):
                self._sync()
                self._before = {
                    i: (_sample(v).copy(), _rms(v)) for i, v in enumerate(self._variables)
                }

    def batch_end(self) -> None:
        """After one step, or several of one execution. Raises GuardStopError where the guard stops."""
        with self._safely():
            self._after()
        if self.watching.stopped is not None and not self.watching.off:
            self.detach()
            raise self.watching.stopped

    def finish(self) -> None:
        """Read what has not been read yet."""
        with self._safely():
            self._deliver(self._begun())

    def figures(self) -> dict[str, float]:
        """Of the steps read since this was last asked: for Keras' logs."""
        rows, self._for_logs = self._for_logs, []
        norms = [row.total for row in rows if row.called]
        if not norms:
            return {}
        bound = [row.factor < 1 for row in rows if row.called]
        found = {"grad_norm": float(np.mean(norms)), "grad_norm_max": float(np.max(norms))}
        if self.settings.clip is not None:
            found["grad_clipped_share"] = float(np.mean(bound))
        return found

    def _after(self) -> None:
        status = self._host(self._ring.status)
        begun, held = int(status[0]), int(status[1])
        late = begun - self._read + self.model.steps_per_execution > self._ring.size
        if held > self._held or self._before or late:
            self._deliver(begun)

    def _deliver(self, begun: int) -> None:
        if begun <= self._read:
            return
        table = self._host(self._ring.rows)
        rows = self._ring.read(table, range(self._read, begun))
        rate = self._rate()
        self._for_logs += rows
        for number, row in enumerate(rows, self._read):
            step = Step(
                number,
                self.watching.now,
                row.loss,
                rate,
                row.total if row.called else math.inf,
                row.total * row.factor if row.called else math.nan,
                row.factor,
                applied=row.passed and row.called,
            )
            scale = getattr(self.model.optimizer, "dynamic_scale", None)
            if scale is not None:
                self.watching.scaler(number, float(self._host(scale)), not row.called)
            if row.passed or not row.called:
                self.watching.step(step, row.norms if row.called else row.norms * math.nan)
            elif self._on_held(step, row, begun - 1 - number) is not Action.SKIP:
                break
        before, self._before = self._before, {}
        self._read = begun
        if before and rows and rows[-1].passed:
            self._observed(rows[-1], begun - 1, before)

    def _observed(self, row: Row, number: int, before: dict[int, tuple[Any, float]]) -> None:
        self._sync()
        table = np.full((len(self._variables), 5), np.nan)
        table[:, 0] = gradient_rms(self.tensors, row.norms)
        table[:, 1], table[:, 2] = row.largest, row.zeros
        for i, variable in enumerate(self._variables):
            old, weight = before[i]
            moved = _sample(variable).astype(np.float64) - old
            table[i, 3:] = weight, math.sqrt(np.mean(moved**2)) if moved.size else 0.0
        self.watching.detail(Detail(number, table, np.zeros((0, 3))))
        self._set_reach(list(table[:, 3]))
        self._ring.ceiling.assign(self.watching.ceiling)
        guard = self.settings.guard
        if guard is not None and guard.action is Action.ROLLBACK:
            self._snapshot = [(v, np.array(ops.convert_to_numpy(v))) for v in self._state()]

    # --- held back -----------------------------------------------------------------------------

    def _on_held(self, step: Step, row: Row, age: int) -> Action:
        self._sync()
        reach = self._host(self._ring.reach) * step.rate
        ceiling = self.watching.ceiling
        factor = np.asarray(row.factor if math.isfinite(row.factor) else 1.0)
        kind = guards.reason(row.norms, factor, reach, row.total, ceiling)
        bad = int(np.count_nonzero(~np.isfinite(row.norms)))
        step = replace(step, non_finite=bad)
        self._held += 1
        for variable, copy in self._kept if _jax() else ():
            variable.assign(np.array(ops.convert_to_numpy(copy)))  # a buffer of its own: JAX donates it
        action = self.watching.held(
            Held(step, row.norms, kind, lambda why: self._box(step, row, why, age))
        )
        guard = self.settings.guard
        if guard is not None and action is Action.ROLLBACK:
            for variable, value in self._snapshot:
                variable.assign(value)
            self._lower(guard.lower)
        if action is not Action.STOP:
            status = self._host(self._ring.status)
            self._held = int(status[1])
            self._ring.status.assign(np.array([status[0], status[1], 0, status[1]], np.float32))
        return action

    def _lower(self, factor: float) -> None:
        rate = self._optimizer._learning_rate
        if isinstance(rate, keras.Variable):
            rate.assign(rate * factor)
        else:
            self.watching.note(self._read, "the learning rate is a schedule and was not lowered")

    def _box(self, step: Step, row: Row, kind: Kind, age: int) -> BlackBox:
        batch = self._batches.last(age)
        origin = self._origin(batch)
        if origin is None:
            origin = _by_gradients(self.tensors, row.norms)
        names = {**self._names, **{id(v): v.path for v in self.model.non_trainable_variables}}
        leaves = {} if batch is None else _leaves(batch)
        kinds, keys, *_ = np.random.get_state()
        return BlackBox(
            step=step.step,
            kind=str(kind),
            batch=leaves,
            weights={names.get(id(v), v.path): _numpy(v) for v in self.model.variables},
            optimizer={f"{i}/{v.path}": _numpy(v) for i, v in enumerate(self._own_variables())},
            noise={"numpy": np.array(keys)},
            gradients={t.name: float(n) for t, n in zip(self.tensors, row.norms, strict=True)},
            origin=origin,
            facts={
                "loss": step.loss,
                "rate": step.rate,
                "framework": "keras",
                "backend": keras.backend.backend(),
                "model": model_name(self.model),
                "noise": {"numpy": str(kinds)},
            },
        )

    def _origin(self, batch: Any) -> Origin | None:
        if batch is None:
            return None
        with suppress(Exception), self._plain():
            return origin_of(probe(self.model, batch=batch))
        return None

    @contextmanager
    def _plain(self) -> Iterator[None]:
        """The optimizer as it is without us."""
        self._ring.take_out()
        apply = self._optimizer.__dict__.pop("apply", None)
        try:
            yield
        finally:
            if apply is not None:
                self._optimizer.apply = apply
            self._ring.put_in()

    # --- reading -------------------------------------------------------------------------------

    def _begun(self) -> int:
        return int(self._host(self._ring.status)[0])

    def _host(self, variable: Any) -> Floats:
        """The value as NumPy; on JAX from the state that goes through the loop, if it is there."""
        model = self.model
        if _jax() and getattr(model, "_jax_state", None) and not model._jax_state_synced:
            value = model._jax_state["optimizer_variables"][self._place(variable)]
        else:
            value = variable
        return np.asarray(ops.convert_to_numpy(value))

    def _sync(self) -> None:
        if _jax():
            self.model.jax_state_sync()

    def _rate(self) -> float:
        rate = self._optimizer._learning_rate
        if isinstance(rate, keras.Variable):
            return float(self._host(rate))
        with suppress(Exception):
            return float(rate(self._host(self._optimizer.iterations)))
        return math.nan

    def _set_reach(self, weights: list[float]) -> None:
        """The rate itself is multiplied in inside the step, where it is known."""
        plain = isinstance(self._optimizer, keras.optimizers.SGD)
        reach = guards.reach(self.tensors, np.array(weights), 1.0 if plain else None)
        self._ring.reach.assign(reach.astype(np.float32))

    def _own_variables(self) -> list[Any]:
        ours = {id(v) for v in self._ring.variables}
        return [v for v in self.model.optimizer.variables if id(v) not in ours]

    def _state(self) -> list[Any]:
        rate = self._optimizer._learning_rate
        return [v for v in [*self.model.variables, *self._own_variables()] if v is not rate]

    @contextmanager
    def _safely(self) -> Iterator[None]:
        """An error of our own switches the watch off and leaves the training as it is."""
        try:
            if self._attached and not self.watching.off:
                yield
            else:
                with suppress(Exception):
                    yield
        except Exception as error:
            self.watching.trouble(error)


def _jax() -> bool:
    return str(keras.backend.backend()) == "jax"


def _loss(before: tuple[Any, Any], after: tuple[Any, Any]) -> Any:
    """The step's loss, from the running sums of Keras' own tracker."""
    total = ops.convert_to_tensor(after[0]) - before[0]
    count = ops.convert_to_tensor(after[1]) - before[1]
    return ops.cast(total, "float32") / ops.cast(count, "float32")


def _with_loss(rows: Any, place: Any, loss: Any) -> Any:
    columns = rows.shape[1]
    column = ops.expand_dims(ops.equal(ops.arange(columns), columns - 5 + LOSS), 0)
    return ops.where(ops.logical_and(place, column), loss, rows)


def _first(size: int) -> Any:
    return ops.cast(ops.equal(ops.arange(size), 0), "float32")


def _position(variables: Any, variable: Any) -> int:
    return next(i for i, v in enumerate(variables) if v is variable)


def _is_float(value: Any) -> bool:
    return "float" in keras.backend.standardize_dtype(value.dtype)


def _numpy(variable: Any) -> Any:
    value = np.array(ops.convert_to_numpy(variable))
    return value.astype(np.float32) if value.dtype.kind not in "fiub" else value


def _sample(variable: Any) -> Any:
    """At most 65,536 elements at equal distances, as a vector."""
    values = np.asarray(ops.convert_to_numpy(variable)).reshape(-1)
    return values[:: -(-values.size // _SAMPLE)] if values.size > _SAMPLE else values


def _rms(variable: Any) -> float:
    values = np.asarray(ops.convert_to_numpy(variable)).reshape(-1)
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) if values.size else 0.0


def _spoilt(model: Any) -> list[Any]:
    """Moving statistics and the like, which a bad forward pass spoils before the optimizer is asked."""
    return [
        v for v in model.non_trainable_variables if _is_float(v) and math.prod(v.shape) <= _SMALL
    ]


def _copies(variables: list[Any]) -> list[Any]:
    """Variables of our own that are in no model."""
    return [
        keras.Variable(
            ops.convert_to_numpy(v), trainable=False, dtype=v.dtype, name="evengrad_kept"
        )
        for v in variables
    ]


def _leaves(batch: tuple[Any, Any, Any]) -> dict[str, Any]:
    found = {}
    for name, part in zip(("input", "labels", "weights"), batch, strict=True):
        values = [v for v in keras.tree.flatten(part) if v is not None]
        for i, value in enumerate(values):
            found[name if len(values) == 1 else f"{name}/{i}"] = np.asarray(
                ops.convert_to_numpy(value)
            )
    return found


def _by_gradients(tensors: tuple[Tensor, ...], norms: Floats) -> Origin:
    """What the gradients alone say: the bad one that is nearest to the output."""
    bad = [t for t, n in zip(tensors, norms, strict=True) if not math.isfinite(n)]
    if not bad:
        worst = tensors[int(np.argmax(norms))]
        text = f"The largest gradient is that of {worst.name}: norm {norms.max():.3g}."
        return Origin(worst.layer, "backward", text)
    more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
    text = f"What is not finite is the gradient of {bad[-1].name}{more}."
    return Origin(bad[-1].layer, "backward", text)


def _tensors(model: Any, variables: list[Any], names: dict[int, str]) -> tuple[Tensor, ...]:
    layers = {id(v): layer for v, layer in trainables(model)}
    return tuple(
        Tensor(
            names[id(v)],
            names[id(v)].rpartition("/")[0] or names[id(v)],
            tuple(int(n) for n in v.shape),
            fan_in(v, layers.get(id(v))),
        )
        for v in variables
    )


def _subject(
    model: Any, optimizer: Any, tensors: tuple[Tensor, ...], settings: Settings, script: str
) -> Subject:
    guard = settings.guard
    return Subject(
        script=script,
        model=model_name(model),
        optimizer=type(optimizer).__name__,
        frontend="keras",
        backend=keras.backend.backend(),
        versions=versions(),
        tensors=tensors,
        settings={
            "clip": clips.in_words(settings.clip),
            "guard": None if guard is None else str(guard.action),
            "every": settings.every,
        },
    )


def _expect_moments(settings: Settings, optimizer: Any) -> None:
    if isinstance(settings.clip, clips.UpdateClip) and not hasattr(optimizer, "_velocities"):
        raise EvengradError(
            f"The clip 'update' reads Adam's second moment, which {type(optimizer).__name__} has not. Expected "
            "Adam, AdamW or the like; for this optimizer take auto, norm or agc."
        )
