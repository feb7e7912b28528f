"""Changes the user's own training when it starts, and counts its steps."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import keras
import numpy as np

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.sessions import Armed, TrialSession
from evengrad.adapters.keras.change.change import apply
from evengrad.adapters.keras.change.data import kind_of_loss, looked_at
from evengrad.adapters.keras.change.model import LiveModel
from evengrad.adapters.keras.change.withholding import KerasWithholding
from evengrad.adapters.keras.intercept import called_back, intercept
from evengrad.adapters.keras.probe import probe
from evengrad.errors import CannotChangeError, EvengradError
from evengrad.recording import failure


def arm(session: TrialSession) -> Armed:
    """From now on; the first compiled model that is trained is changed and counted, no other."""
    trying, patches = _KerasTrial(session), Patches()
    intercept(patches, {"fit": trying.fit, "train_on_batch": trying.train_on_batch})
    _seeded(session.seed, patches)
    patches.on_undo(trying.finish)
    return Armed(disarm=patches.undo, flush=lambda: None)


def _seeded(moved: int, patches: Patches) -> None:
    """Seed everything, and move the script's own seeds by as much, under every name that Keras gives them."""
    original = keras.utils.set_random_seed

    @wraps(original)
    def set_random_seed(seed: Any) -> Any:
        return original(seed + moved if isinstance(seed, int) else seed)

    found = [m for name, m in sorted(sys.modules.items()) if name.split(".")[0] == "keras"]
    for module in found:
        if vars(module).get("set_random_seed") is original:
            patches.put(module, "set_random_seed", set_random_seed)
    original(moved)


class _KerasTrial:
    def __init__(self, session: TrialSession) -> None:
        self.session = session
        self.model: Any = None
        self.batch: Any = None
        self.withholding: KerasWithholding | None = None
        self.live: LiveModel | None = None
        self._begun = False
        self._epoch = False

    def fit(self, model: Any, given: dict[str, Any], go_on: Callable[[], Any]) -> Any:
        """Around ``Model.fit``."""
        if not self._is_ours(model):
            return go_on()
        if self.model is None:
            self._start(model, *looked_at(given))
        with called_back(given, model, _Counting(self)):
            return go_on()

    def train_on_batch(self, model: Any, given: dict[str, Any], go_on: Callable[[], Any]) -> Any:
        """Around ``Model.train_on_batch``."""
        if not self._is_ours(model):
            return go_on()
        if self.model is None:
            batch = given["x"], given["y"], given["sample_weight"]
            self._start(model, batch, batch[1])
        self.begin(None)
        found = go_on()
        self.count(1)
        return found

    def _is_ours(self, model: Any) -> bool:
        if self.model is not None:
            return model is self.model
        return bool(model.compiled) and model.optimizer is not None and not _has_others(model)

    def _start(self, model: Any, batch: Any, targets: Any) -> None:
        self.model, self.batch = model, batch
        waiting = model.train_function  # not called yet: a watch may stand in its place already
        try:
            first = None if batch is None else batch[0]
            self.live = apply(self.session.changes, model, first, self.session.note)
        except CannotChangeError as error:
            self.session.refuse(error)
        except Exception as error:
            said = f"{type(model).__name__} could not be changed: {type(error).__name__}: {error}"
            self.session.refuse(CannotChangeError(said))
        if self.session.measured:
            self._measure(self.session.opened)
        model.train_function = waiting
        flat = [v for v in keras.tree.flatten(targets) if v is not None]
        if len(flat) == 1:
            self.session.targets(kind_of_loss(model), np.asarray(flat[0]))
        if self.session.withheld:
            self.withholding = KerasWithholding(model, self.session.withheld)
            self.withholding.put_on()

    def _measure(self, told: Callable[[Any], None]) -> None:
        """A probe of the model, where one can be taken: the losses are what counts."""
        try:
            found = probe(self.model, batch=self.batch, rate=True)
        except EvengradError:
            return
        except Exception as error:
            failure.tell(error)
            return
        told(found)

    def begin(self, steps: int | None) -> None:
        """The first step comes. steps: of an epoch, where that is known."""
        if steps is not None:
            self.epoch(steps)
        if not self._begun:
            self._begun = True
            self.session.started()

    def epoch(self, steps: int) -> None:
        """Told once."""
        if not self._epoch:
            self._epoch = True
            self.session.epoch(steps)

    def count(self, steps: int) -> None:
        """So many updates were made."""
        if self.withholding is not None:
            losses = self.withholding.read()
            if losses.examples:
                self.session.held_out(losses.held_out, losses.examples)
            if not math.isnan(losses.own):
                self.session.backpropagated(losses.total, (losses.own,))
        if not any(self.session.stepped() for _ in range(steps)):
            return
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        self.finish()
        self._measure(self.session.probed)
        self.session.over()

    def finish(self) -> None:
        """The model's loss as it was."""
        if self.withholding is not None:
            self.withholding.take_off()
            self.withholding = None


def _has_others(model: Any) -> bool:
    """Whether it keeps optimizers that Keras does not know of, for its own ``train_step``, as a GAN does."""
    held = [one for one in vars(model).values() if isinstance(one, keras.optimizers.Optimizer)]
    return any(one is not model.optimizer for one in held)


class _Counting(keras.callbacks.Callback):
    """Counts the updates of ``fit``."""

    def __init__(self, trying: _KerasTrial) -> None:
        super().__init__()
        self._trying = trying
        self._first = self._steps = 0

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """All is known of the epoch that is known before it."""
        self._trying.begin((self.params or {}).get("steps"))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """The first of the batches that are taken in one call."""
        self._first = batch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """The last of them; Keras counts on behind the end of an epoch."""
        for follow in () if self._trying.live is None else self._trying.live.batch_ends:
            follow(logs or {})
        known = (self.params or {}).get("steps")
        last = batch if known is None else min(batch, known - 1)
        self._steps = last + 1
        self._trying.count(last + 1 - self._first)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """A dataset of unknown length has ended."""
        self._trying.epoch(self._steps)
