"""The patches on one model's training function: what happens around each call of it, by backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import keras
from keras import ops

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.tap.access import InState
from evengrad.adapters.keras.tap.batches import Batches, in_graph
from evengrad.adapters.keras.tap.ring import LOSS, Ring
from evengrad.adapters.keras.tap.tap import KerasTap


class AroundCalls(Protocol):
    """What is to be done around each call of the training function. after: may raise GuardStopError."""

    def before(self) -> int:
        """The number of the step that comes."""

    def after(self) -> None: ...


class Fitting:
    """Patches on a model's instance, from ``put_on`` to ``take_off``.

    A training function, once compiled with the tap in it, is used again when the same model is watched again.
    """

    def __init__(
        self,
        model: Any,
        tap: KerasTap,
        batches: Batches,
        every: int,
    ) -> None:
        self.model, self.tap, self.batches = model, tap, batches
        self._every = every
        self._backend = keras.backend.backend()
        self._heard: Any = None
        self._patches = Patches(tap.failed)
        self._plain: Any = None  # the unwatched training function
        self._watched: Any = None

    def put_on(self, around: AroundCalls, access: Any) -> Any:
        """Patch the model; returns its training function, to be called at once."""
        model, self._access = self.model, access
        tracker = compat.loss_tracker(model)
        if tracker is not None:
            self._patches.wrap(tracker, "update_state", self._hearing)
        in_step = self._stepping_in_jax if self._backend == "jax" else self._stepping
        self._patches.wrap(model, "train_step", in_step)
        if self._backend == "tensorflow" and compat.wraps_step(model):
            convert = in_graph(self.batches, self.tap.ring.status, self._every)
            self._patches.wrap(model, compat.STEP_WRAPPER, convert)
        self._plain = model.train_function
        if self._watched is None:
            model.make_train_function(force=True)
            self._watched = model.train_function
            model.train_function = self._plain
        self._patches.put(model, "train_function", self._around(self._watched, around, access))
        return model.train_function

    def fits(self) -> bool:
        """Whether the model has not been compiled anew since ``take_off``."""
        return self._plain is not None and self.model.train_function is self._plain

    def take_off(self) -> None:
        """The model as it was, its own training function, too."""
        self._patches.undo()

    # --- around a call -------------------------------------------------------------------------

    def _around(self, original: Any, around: AroundCalls, access: Any) -> Callable[..., Any]:
        if self._backend != "jax":

            def call(data: Any) -> Any:
                step = around.before()
                if self._backend == "torch":
                    self.batches.keep(step, data[0])
                logs = original(data)
                around.after()
                return logs

            return call

        def call_jax(state: Any, iterator: Any) -> Any:
            access.state = [list(part) for part in state]
            step = around.before()
            logs, new = original(state, self.batches.passing(iterator, step))
            access.state = new
            try:
                around.after()
            except Exception:
                self._give_back(access)
                raise
            return logs, new

        return call_jax

    def _give_back(self, access: InState) -> None:
        """Before an error leaves ``fit``, which lost the state's values to the last step."""
        assert access.state is not None
        compat.give_back_jax(self.model, access.state)
        access.state = None

    # --- inside the step -----------------------------------------------------------------------

    def _hearing(self, update_state: Any) -> Any:
        """The loss of each step, on its way to the running mean."""

        def hear(loss: Any, *args: Any, **kwargs: Any) -> Any:
            if self._backend == "jax":
                self._heard = loss
                self.tap.heard = True
            else:
                self.tap.loss = ops.cast(loss, "float32")
            return update_state(loss, *args, **kwargs)

        return hear

    def _stepping(self, train_step: Any) -> Any:
        """``train_step`` with copies of what a bad step would overwrite, of before it."""

        def step(data: Any) -> Any:
            ring = self.tap.ring
            refused = ring.unseen()
            for variable, copy in ring.before:
                if self._backend == "torch":
                    copy.value.copy_(copy.value if refused else variable.value)
                else:
                    copy.assign(ops.where(refused, copy.value, variable.value))
            return train_step(data)

        return step

    def _stepping_in_jax(self, train_step: Any) -> Any:
        return lambda state, data: self._step_in_jax(train_step, state, data)

    def _step_in_jax(self, train_step: Any, state: Any, data: Any) -> Any:
        """``train_step`` with the loss in the row, too. (XLA: to choose behind the step would change how the
        overwritten values are made; copies of before it do not.)
        """
        self._heard = None
        logs, new = train_step(state, data)
        new = tuple(list(part) for part in new)
        variables = self.tap.outer.variables
        where = {id(v): i for i, v in enumerate(variables)}
        ring: Ring = self.tap.ring
        rows, status = where[id(ring.rows)], where[id(ring.status)]
        if self._heard is None and (told := _loss_in(logs)) is not None:
            self._heard, self.tap.heard = told, True
        if self._heard is not None:
            new[2][rows] = ring.amended(new[2][rows], new[2][status], LOSS, self._heard)
        refused = state[2][status][1] > state[2][status][3]
        for variable, copy in ring.before:
            part, i = self._access.place(variable)
            new[2][where[id(copy)]] = ops.where(refused, state[2][where[id(copy)]], state[part][i])
        return logs, new


def _loss_in(logs: Any) -> Any:
    """What a ``train_step`` of the user's returns by that name; None where that is no single number."""
    found = logs.get("loss") if isinstance(logs, dict) else None
    return None if getattr(found, "shape", None) != () else ops.cast(found, "float32")
