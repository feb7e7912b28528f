"""The probe of a loop of the script's own, at the first step of each of its optimizers."""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any

import keras

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.sessions import Session
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.facts.lines import line
from evengrad.adapters.keras.facts.smothered import of_probe
from evengrad.adapters.keras.measure.spoiled import coming_fact
from evengrad.adapters.keras.measure.update import is_copy
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.assemble import Assembly
from evengrad.adapters.keras.tap.called import Calls
from evengrad.adapters.keras.tap.holders import models
from evengrad.adapters.keras.tap.listening import Applied, Listening, LossScaled
from evengrad.adapters.keras.tap.mistakes import LoopFacts
from evengrad.adapters.keras.tap.native import Differentiated
from evengrad.values.fact import Fact
from evengrad.values.probe import Probe

_STEPS = 8
"""Steps of one optimizer until the first one of another is waited for no more."""


class FirstSteps:
    """Delivers one probe: of the first optimizer whose gradients are not finite, else of the first one.

    Compiled steps are run eagerly until then.

    Args:
        session: to report to.
        patches: to be undone at the end.
    """

    def __init__(self, session: Session, patches: Patches) -> None:
        self.session = session
        self.probes: dict[int, Probe] = {}
        self._kept: list[Any] = []  # the optimizers, so that an id is that one's
        self._steps: dict[int, int] = {}
        self._recent: deque[Differentiated] = deque(maxlen=8)
        self._scaled: deque[LossScaled] = deque(maxlen=8)
        self._started = self._flushing = self._delivered = self._resting = False
        self._made: list[weakref.ref[Any]] = []
        patches.wrap(keras.optimizers.Optimizer, "__init__", self._making)
        self.calls = Calls()
        self.calls.hear(patches)
        self.listening = Listening(patches)
        self.listening.differentiated.append(self._recent.append)
        self.listening.scaled.append(self._scaled.append)
        self._facts: list[Fact] = []
        self.mistakes = LoopFacts(self.listening, lambda _, fact: self._heard(fact), patches)
        native.run_eagerly(patches)
        if keras.backend.backend() == "jax":
            patches.wrap(keras.optimizers.Optimizer, "stateless_apply", self._stepping_jax)
            patches.wrap(keras.optimizers.LossScaleOptimizer, "stateless_apply", self._stepping_jax)
        else:
            for cls in (keras.optimizers.Optimizer, keras.optimizers.LossScaleOptimizer):
                patches.wrap(cls, "apply", self._stepping)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """While it lasts, no step is measured, and compiled ones are run as they are."""
        before, self._resting = self._resting, True
        try:
            with self.listening.paused(), self.calls.paused(), native.compiled():
                yield
        finally:
            self._resting = before

    def flush(self) -> None:
        """The script is over."""
        if self.probes and not self._flushing and not self._delivered:
            self._deliver()

    def told(self) -> tuple[Fact, ...]:
        """Mistakes in what was heard so far."""
        self.mistakes.ended()
        found, self._facts = tuple(self._facts), []
        return found

    def _heard(self, fact: Fact) -> None:
        if fact.kind != "accumulation_undivided":  # whether it matters a first step does not tell
            self._facts.append(fact)

    # --- what the script does --------------------------------------------------------------------

    def _stepping(self, original: Any) -> Any:
        @wraps(original)
        def apply(optimizer: Any, grads: Any, trainable_variables: Any = None) -> Any:
            given = list(grads)
            own = None if trainable_variables is None else list(trainable_variables)
            if not self._resting and not is_copy(optimizer) and not self._inner(optimizer):
                known = own if own is not None else compat.trained_by(optimizer)
                self._step(Applied(optimizer, tuple(given), tuple(known)))
            return original(optimizer, given, own)

        return apply

    def _stepping_jax(self, original: Any) -> Any:
        @wraps(original)
        def stateless_apply(
            optimizer: Any, optimizer_variables: Any, grads: Any, trainable_variables: Any
        ) -> Any:
            known, values = compat.trained_by(optimizer), list(trainable_variables)
            state = list(optimizer_variables)
            if not self._resting and not is_copy(optimizer) and not self._inner(optimizer):
                for variable, value in zip(
                    [*known, *optimizer.variables], [*values, *state], strict=False
                ):
                    variable.assign(value)
                self._step(Applied(optimizer, tuple(grads), tuple(known)))
            return original(optimizer, state, grads, values)

        return stateless_apply

    def _inner(self, optimizer: Any) -> bool:
        """Whether it is inside of one that has stepped."""
        return any(getattr(o, "inner_optimizer", None) is optimizer for o in self._kept)

    def _step(self, event: Applied) -> None:
        key = id(event.optimizer)
        with self.listening.given(event):
            pass
        if key not in self.probes:
            self._native()
            if not self._started:
                self._started = True
                self.session.starting()
            try:
                with self.listening.paused(), self.calls.paused(), native.compiled():
                    probe = self._probe(event)
            except Exception as error:
                self.session.trouble(error)
            spoiled = coming_fact(event.optimizer, event.variables, probe.weights, line())
            self._facts += [] if spoiled is None else [spoiled]
            self._facts += of_probe(event.optimizer, probe.weights, line())
            self._kept.append(event.optimizer)
            self.probes[key] = probe
        self.calls.clear()
        self._steps[key] = self._steps.get(key, 0) + 1
        if self._is_over(key):
            self._deliver()

    def _native(self) -> None:
        """On PyTorch the other adapter has followed the forward pass, and delivers more than is heard here."""
        flush = getattr(self.session, "flush", None)
        if keras.backend.backend() == "torch" and flush is not None and not self._flushing:
            self._flushing = True
            flush()

    def _is_over(self, key: int) -> bool:
        """Whether no other optimizer is to be waited for."""
        again = self._steps[key] > 1 and len(self.probes) > 1
        return (
            again or self._steps[key] >= _STEPS or not self._others() or not _fine(self.probes[key])
        )

    def _others(self) -> bool:
        """Whether the script has an optimizer that has not stepped yet, and that is no compiled model's."""
        made = [o for o in (reference() for reference in self._made) if o is not None]
        left = {id(o) for o in made if id(o) not in self.probes and not is_copy(o)}
        left -= {id(getattr(o, "inner_optimizer", None)) for o in made}
        return bool(left - {id(getattr(model, "optimizer", None)) for model in models()})

    def _making(self, original: Any) -> Any:
        @wraps(original)
        def init(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            self._made.append(weakref.ref(optimizer))

        return init

    def _probe(self, event: Applied) -> Probe:
        ids = {id(v) for v in event.variables}
        heard = [d for d in self._recent if not d.sources or any(id(s) in ids for s in d.sources)]
        if not heard:
            heard = list(self._recent)  # of JAX, whose sources are values
        last = heard[-1] if heard else None
        scaled = next(
            (s for s in self._scaled if last is not None and s.scaled is last.target), None
        )
        return Assembly(event, last, scaled, self.calls, self.session.precise).probe()

    def _deliver(self) -> None:
        probes = list(self.probes.values())
        wrong = [p for p in probes if not _fine(p)] or [p for p in probes if _unreached(p)]
        chosen = (wrong or probes)[0]
        rest = [p for p in probes if p is not chosen]
        told = tuple(
            f"the script steps {len(probes)} optimizers; this is the first step of that of {chosen.model}, and "
            f"the gradients of {p.model} ({_name(p)}) are {'finite' if _fine(p) else 'not finite'}"
            for p in rest
        )
        self._delivered = True
        facts = [*chosen.facts, *self.told()]
        if _unreached(chosen) and not any(f.kind == "weights_unreached" for f in facts):
            facts.append(_no_gradient(chosen))
        self.session.deliver(replace(chosen, notes=(*chosen.notes, *told), facts=tuple(facts)))


def _name(probe: Probe) -> str:
    return "an optimizer" if probe.optimizer is None else probe.optimizer.name


def _fine(probe: Probe) -> bool:
    bad = any(w.gradient is not None and w.gradient.non_finite for w in probe.weights)
    return math.isfinite(probe.loss.value) and not bad


def _unreached(probe: Probe) -> bool:
    """Whether no gradient came to any weight, or nothing but zeros."""
    return bool(probe.weights) and all(
        w.gradient is None or (w.gradient.max == 0 and not w.gradient.non_finite)
        for w in probe.weights
    )


def _no_gradient(probe: Probe) -> Fact:
    values = {
        "model": probe.model,
        "optimizer": _name(probe),
        "none": all(w.gradient is None for w in probe.weights),
        "kind": "",
        "cut": "",
        "steps": 1,
        "backward": "",
    }
    return Fact("weights_unreached", None, 0, values)
