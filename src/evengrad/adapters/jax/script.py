"""Measures the first step of the user's own script, at what it differentiates and at optax' update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from evengrad.adapters.common import rate as common
from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.sessions import Armed, Session
from evengrad.adapters.jax import compat
from evengrad.adapters.jax.measure.measure import DifferentiatedCall, MeasuredCall
from evengrad.adapters.jax.measure.rate import rate_of
from evengrad.adapters.jax.measure.scopes import ScopeMarks
from evengrad.adapters.jax.tap.received import arrived_step
from evengrad.adapters.jax.tap.seams import put_on
from evengrad.adapters.jax.tap.tap import Taps
from evengrad.errors import EvengradError, MissingFrameworkError
from evengrad.recording.settings import Settings
from evengrad.values.message import msg
from evengrad.values.probe import Rate
from evengrad.values.run import Subject

_APART = "gradient and update are compiled apart; one jitted function with both of them shows it"
_UNKNOWN = "it is not known"
_MEASURED = "0.10"
"""The oldest jax whose jaxprs were measured; what an older one's lack is no fault to report."""


def arm(session: Session) -> Armed:
    """From now on; the first update of an optax optimizer whose loss was seen ends the script."""
    steps = _FirstUpdates(session)
    return Armed(disarm=steps.disarm, flush=steps.flush)


class _FirstUpdates:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.marks = ScopeMarks()
        self.seen: list[_SeenCall] = []
        self.updates: list[_SeenUpdate] = []
        self.on = True
        self._patches = Patches()
        settings = Settings(guard=None, folder=None)
        self.taps = Taps(
            settings, "", _no_run, self.trouble, calls=self._differentiating, receive=self._receive
        )
        put_on(self.taps, self._patches, lambda: self.on)
        self.marks.put_on(self._patches, lambda: self.on)

    def disarm(self) -> None:
        """Take every patch off."""
        self.on = False
        self.taps.on = self.taps.ears.on = False
        self._patches.undo()

    def flush(self) -> None:
        """The script has ended: what is still being computed is waited for."""
        if self.on and (self.seen or self.updates):
            jax.effects_barrier()
            self.match()

    def trouble(self, error: Exception) -> None:
        """A fault of ours."""
        if self.on:
            self.on = False
            if isinstance(error, EvengradError):
                self.session.fail(error)
            if compat.older_than(_MEASURED):
                self.session.fail(
                    MissingFrameworkError(
                        msg(
                            "evengrad check needs jax {measured} or newer where JAX is used without "
                            "Keras, found "
                            "{version}: pip install 'jax>={measured}'. evengrad run does not.",
                            measured=_MEASURED,
                            version=jax.__version__,
                        )
                    )
                )
            self.session.trouble(error)

    def match(self) -> None:
        """Deliver the first update that has arrived, and whose loss has."""
        for update in self.updates:
            if not update.ready:
                continue
            own = [call for call in self.seen if call.packed is not None and update.names_of(call)]
            if own:
                self.on = False
                self._deliver(own[-1], update)

    def _deliver(self, call: _SeenCall, update: _SeenUpdate) -> None:
        names = update.names_of(call)
        found = arrived_step(update.packed, len(update.subject.tensors))
        moved = dict(
            zip(
                (t.name for t in update.subject.tensors),
                found.row("update_rms").tolist(),
                strict=True,
            )
        )
        rate = found.values["rate"]
        about = {
            "optimizer": update.subject.optimizer,
            "rate": rate if np.isfinite(rate) else None,
            "versions": update.subject.versions,
            "model": update.subject.model,
        }
        try:
            probe = call.measured.probe(call.packed, names, moved, about)
            probe = common.with_rate(probe, lambda: update.rate(rate), None)
        except Exception as error:
            self.session.trouble(error)
        self.session.deliver(probe)

    def _receive(self, subject: Subject) -> _SeenUpdate:
        self.updates.append(_SeenUpdate(self, subject))
        return self.updates[-1]

    def _differentiating(
        self, function: Any, given: Any, named: Any, chosen: Any, auxiliary: bool
    ) -> Any:
        if not self.on:
            return lambda _: None
        places = (chosen,) if isinstance(chosen, int) else tuple(chosen)
        call = DifferentiatedCall(compat.again(function), places, given, dict(named), auxiliary)

        def look(gradients: Any) -> None:
            try:
                seen = _SeenCall(self, MeasuredCall(call, self.marks), jax.tree.leaves(gradients))
                self.seen.append(seen)
                seen.begin()
            except Exception as error:
                self.trouble(error)

        return look


class _SeenCall:
    """A loss that was differentiated. packed: its figures, once they are known."""

    def __init__(self, steps: _FirstUpdates, measured: MeasuredCall, gradients: list[Any]) -> None:
        self.measured = measured
        self.gradients = gradients
        self.packed: Any = None
        self._steps = steps

    def begin(self) -> None:
        """Have it measured."""
        if self.measured.traced:
            jax.debug.callback(self._arrived, self.measured.figures())
        else:
            self.packed = np.asarray(jax.jit(self.measured.figures)())

    def _arrived(self, packed: Any) -> None:
        if self.packed is None:
            self.packed = np.asarray(packed)
            self._steps.match()


class _SeenUpdate:
    """An optimizer over one tree of weights. packed: the figures of its first update."""

    def __init__(self, steps: _FirstUpdates, subject: Subject) -> None:
        self.on = True
        self.subject = subject
        self.packed: Any = None
        self._gradients: dict[str, Any] = {}
        self._asked = False
        self._losses: Any = None
        self._maker: Any = None
        self._steps = steps

    def updating(self, gradients: Mapping[str, Any]) -> None:
        """See Receiver."""
        self._gradients = dict(gradients)

    @property
    def ready(self) -> bool:
        """Whether all of it has arrived."""
        return self.packed is not None and (not self._asked or self._losses is not None)

    def made(self, updates: Mapping[str, Any], maker: Any) -> None:
        """See Receiver: the loss is worked out along this update, where its function is at hand."""
        self._maker = maker
        if self._asked:
            return
        for call in self._steps.seen:
            names = self._same(call)
            if names:
                self._asked = True
                found = call.measured.losses([updates[name] for name in names])
                if compat.is_traced(found):
                    jax.debug.callback(self._tried, found)
                else:
                    self._tried(found)

    def rate(self, now: float) -> Rate | None:
        """The present rate against the largest stable one; raises where that is not known."""
        if not np.isfinite(now):
            raise ValueError(_UNKNOWN)
        if now <= 0:
            return None
        if self._losses is None:
            raise ValueError(_APART)
        return rate_of(self._losses, now, self._maker)

    def _tried(self, losses: Any) -> None:
        if self._losses is None:
            self._losses = np.asarray(losses)
            self._steps.match()

    def arrived(self, packed: Any) -> None:
        """See Receiver."""
        if self.packed is None and self.on:
            self.packed = np.asarray(packed)
        self._steps.match()

    def names_of(self, call: _SeenCall) -> tuple[str, ...]:
        """The user's names of the tensors that a loss was differentiated by, in its order; empty where it is
        not of this update.
        """
        found = self._same(call)
        if found:
            return found
        shapes = tuple(tensor.shape for tensor in self.subject.tensors)
        return tuple(t.name for t in self.subject.tensors) if shapes == call.measured.shapes else ()

    def _same(self, call: _SeenCall) -> tuple[str, ...]:
        """The same, of a loss whose very gradients are given to this update."""
        names = {id(v): name for name, v in self._gradients.items()}
        same = [names.get(id(g)) for g in call.gradients]
        found = tuple(name for name in same if name is not None)
        return found if len(found) == len(call.measured.shapes) else ()


def _no_run(_: Subject) -> Any:
    raise AssertionError("a check writes no run")
