"""Other learning rates in a live optimizer."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from evengrad.adapters.keras import compat
from evengrad.adapters.keras.change.model import LiveModel
from evengrad.adapters.keras.measure.update import unscaled
from evengrad.errors import CannotChangeError


class _ScheduleAround(LearningRateSchedule):
    """A schedule around another, or around a number. base: that. start: the step at which it begins."""

    def __init__(self, base: Any, steps: float, start: int = 0) -> None:
        told = isinstance(base, dict)
        self.base = keras.saving.deserialize_keras_object(base) if told else base
        self.steps, self.start = steps, start

    def __call__(self, step: Any) -> Any:
        """The rate at that step."""
        done = ops.cast(step, keras.config.floatx()) - self.start
        return _at(self.base, step) * self.factor(done)

    def factor(self, done: Any) -> Any:
        """Of the base, after so many steps."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """As plain values."""
        plain = isinstance(self.base, float)
        base = self.base if plain else keras.saving.serialize_keras_object(self.base)
        return {"base": base, "steps": self.steps, "start": self.start}


@keras.saving.register_keras_serializable("evengrad")
class Warming(_ScheduleAround):
    """Up, linearly."""

    def factor(self, done: Any) -> Any:
        """1 / steps at first, then 1."""
        return ops.minimum(1.0, (done + 1) / self.steps)


@keras.saving.register_keras_serializable("evengrad")
class Falling(_ScheduleAround):
    """Down to zero, as a half cosine."""

    def factor(self, done: Any) -> Any:
        """1 until it begins, 0 at the end."""
        return 0.5 * (1 + ops.cos(math.pi * ops.clip(done / self.steps, 0.0, 1.0)))


@keras.saving.register_keras_serializable("evengrad")
class Scaled(_ScheduleAround):
    """The same schedule, ``steps`` times as high."""

    def factor(self, done: Any) -> Any:
        """At every step."""
        return ops.full_like(done, self.steps)


def rate(live: LiveModel, value: float) -> None:
    """A number is replaced, a schedule scaled."""
    optimizer = unscaled(live.model.optimizer)
    optimizer.learning_rate = rated(optimizer, value)


def rated(optimizer: Any, value: float) -> Any:
    """What an optimizer's learning rate is to be in order to start with that value."""
    present = compat.given_rate(optimizer)
    return _scaled(present, value, int(optimizer.iterations)) if callable_(present) else value


def _scaled(schedule: Any, value: float, step: int) -> Any:
    """A warm-up or decay of ours stays one."""
    if isinstance(schedule, Warming | Falling):
        base = schedule.base
        new = _scaled(base, value, step) if callable_(base) else value
        return type(schedule)(new, schedule.steps, schedule.start)
    first = float(ops.convert_to_numpy(_at(schedule, step)))
    if not first > 0:
        raise CannotChangeError(
            f"The learning rate is a schedule that starts at {first:g}; it cannot be scaled to {value:g}."
        )
    return Scaled(schedule, value / first)


def warmup(live: LiveModel, steps: int) -> None:
    """Around the present rate."""
    _around(live.model, Warming, steps)


def by_loss(live: LiveModel, highest: float, base: float, per_loss: float, first: float) -> None:
    """The loss is what ``fit`` shows: the epoch's mean so far. first: before there is one."""
    optimizer = unscaled(live.model.optimizer)
    if callable_(compat.given_rate(optimizer)):
        raise CannotChangeError("The rate cannot follow the loss: it is a schedule.")

    def set_rate(logs: dict[str, Any]) -> None:
        loss = float(logs.get("loss", math.nan))
        rate = min(highest, 1 / (base + per_loss * loss)) if loss > 0 else highest
        optimizer.learning_rate = rate

    optimizer.learning_rate = min(highest, 1 / (base + per_loss * first))
    live.batch_ends.append(set_rate)


def decay(live: LiveModel, steps: int) -> None:
    """Around the present rate; behind a warm-up of ours, as Keras' own ``CosineDecay`` does it."""
    optimizer = unscaled(live.model.optimizer)
    rising = compat.given_rate(optimizer)
    each = optimizer.gradient_accumulation_steps or 1
    if not isinstance(rising, Warming) or steps * each <= rising.steps:
        _around(live.model, Falling, steps)
        return
    risen = int(rising.steps) - 1
    falling = Falling(rising.base, steps * each - risen, rising.start + risen)
    optimizer.learning_rate = Warming(falling, rising.steps, rising.start)


def _around(model: Any, kind: type[_ScheduleAround], steps: int) -> None:
    """Keras' schedules count batches, and so may be several for an update."""
    optimizer = unscaled(model.optimizer)
    each = optimizer.gradient_accumulation_steps or 1
    present = compat.given_rate(optimizer)
    base = present if callable_(present) else float(ops.convert_to_numpy(present))
    optimizer.learning_rate = kind(base, steps * each, int(optimizer.iterations))


def callable_(value: Any) -> bool:
    """Whether a learning rate is a schedule or a function, and no variable."""
    return callable(value) and not isinstance(value, compat.Variable)


def _at(base: Any, step: Any) -> Any:
    if isinstance(base, LearningRateSchedule):
        return base(step)
    return base() if callable(base) else base
