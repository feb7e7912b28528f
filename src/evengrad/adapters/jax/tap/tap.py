"""Taps every optax optimizer where a script calls its update: the state that the script has stays as it is."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from threading import local
from typing import Any

import jax
import jax.numpy as jnp

from evengrad.adapters.common.harmless import harmless
from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.source import own_frames
from evengrad.adapters.jax import compat
from evengrad.adapters.jax.tap import arithmetic
from evengrad.adapters.jax.tap.applied import OpenUpdates, choose
from evengrad.adapters.jax.tap.losses import Differentiating, LossEars
from evengrad.adapters.jax.tap.makers import Maker, Makers, rate_in
from evengrad.adapters.jax.tap.received import Receiver
from evengrad.adapters.jax.tap.trees import leaves, tensors_of
from evengrad.errors import EvengradError
from evengrad.recording import clip as clips
from evengrad.recording.clip import OfNorms
from evengrad.recording.guard import Action, GuardStopError, passes
from evengrad.recording.session import Watching
from evengrad.recording.settings import Settings
from evengrad.values.message import msg
from evengrad.values.run import Subject, Tensor

_XP = arithmetic.InGraph()
_NO_CEILING = 3e38
_HANDLE = {"apply_if_finite", "zero_nans"}  # what takes care of NaN itself
_MODULES = {"flax.linen.module.Module", "flax.nnx.module.Module", "equinox._module._module.Module"}
_PLAIN = {"sgd", "noisy_sgd", "scale"}


class _Within(local):
    depth = 0


@dataclass(frozen=True, slots=True, eq=False)
class UpdateTap:
    """One optimizer over one tree of weights.

    Attributes:
        receiver: the host's end of it.
        names: of its tensors, in order.
        maker: how it was made; None where optax did not make it.
        keeps: the update, so that its identity stays taken.
    """

    receiver: Receiver
    names: tuple[str, ...]
    maker: Maker | None
    keeps: Any


class Taps:
    """All optimizers of a script, or one of them.

    Args:
        settings: how to watch.
        script: its name.
        begin: makes a run.
        trouble: is told of an error of ours; the training goes on.
        only: the update of the one that is meant; None for all.
        calls: see ``LossEars``.
        receive: makes what takes the figures of one optimizer; by default what writes a run.
    """

    def __init__(
        self,
        settings: Settings,
        script: str,
        begin: Callable[[Subject], Watching],
        trouble: Callable[[Exception], object],
        only: Any = None,
        calls: Differentiating | None = None,
        receive: Callable[[Subject], Any] | None = None,
    ) -> None:
        expect(settings)
        self.on = True
        self.all: dict[Any, UpdateTap] = {}
        self.makers = Makers(trouble)
        self.ears = LossEars(trouble, calls)
        self.open = OpenUpdates(trouble)
        self.scaled = False
        self.stepped: Callable[[Watching, float], object] = lambda *_: None
        self._settings, self._script = settings, script
        self._begin, self._trouble, self._only = begin, trouble, only
        self._receive = receive or self._recorded
        self._within = _Within()
        self._known: dict[int, tuple[Any, Any]] = {}

    def put_on(self, patches: Patches, optax: Any) -> None:
        """Every update that is called from now on."""
        self.makers.put_on(patches, optax)
        self.open.put_on(patches, optax)
        patches.put(optax.GradientTransformation, "update", property(self._watched))
        if hasattr(optax, "MultiSteps"):
            patches.wrap(optax.MultiSteps, "update", self._accumulating)

    def close(self) -> None:
        """No more is read; what is still being computed is waited for."""
        if self.on:
            try:
                jax.effects_barrier()
            except Exception:
                self.on = False  # what was called back has said it: the script's, or the guard's
        self.on = self.ears.on = False
        for tap in self.all.values():
            tap.receiver.on = False

    # --- where an update is called ---------------------------------------------------------------

    def _watched(self, transformation: Any) -> Any:
        raw = tuple(transformation)[1]
        if not self.on or self._within.depth or (self._only not in (None, raw)):
            return raw
        try:
            return self._seen(raw, raw)
        except Exception as error:
            self._fail(error)
            return raw

    def _seen(self, owner: Any, raw: Any) -> Any:
        """What is called instead of an update, whose owner is kept so that its identity stays taken."""
        if id(owner) not in self._known:
            self._known[id(owner)] = (owner, harmless(raw, self._wrapped, self._fail))
        return self._known[id(owner)][1]

    def _accumulating(self, original: Any) -> Any:
        """An update of several gradients: what is held back is not added to them."""

        def update(steps: Any, *args: Any, **kwargs: Any) -> Any:
            if self._only not in (None, steps):
                return original(steps, *args, **kwargs)
            raw = functools.partial(original, steps)
            if id(steps) not in self._known:
                self.makers.stand_for(raw, steps)
            return self._seen(steps, raw)(*args, **kwargs)

        return update

    def _wrapped(self, raw: Any) -> Any:
        @functools.wraps(raw)
        def update(gradients: Any, state: Any, params: Any = None, **extra: Any) -> Any:
            if not self.on or self._within.depth or self.ears.differentiating:
                return raw(
                    gradients, state, params, **extra
                )  # a loss may hold a training of its own
            return self._update(raw, gradients, state, params, extra)

        return update

    def _update(self, raw: Any, gradients: Any, state: Any, params: Any, extra: Any) -> Any:
        given, measured = gradients, None
        try:
            measured = self._before(raw, gradients, state, params, extra)
            if measured is not None:
                given = measured.clipped(gradients)
        except Exception as error:
            self._fail(error)
        self._within.depth += 1
        try:
            updates, new = raw(given, state, params, **extra)
        finally:
            self._within.depth -= 1
        if measured is None or not self.on:
            return updates, new
        try:
            held = measured.after(updates, new, state)
        except Exception as error:
            self._fail(error)
            return updates, new
        try:
            measured.send()
        except GuardStopError:  # nothing is compiled, and so it comes from here
            raise
        except Exception as error:
            self._fail(error)
        return held

    def _fail(self, error: Exception) -> None:
        self.on = False
        self._trouble(error)

    def _before(
        self, raw: Any, gradients: Any, state: Any, params: Any, extra: Any
    ) -> UpdateMeasure | None:
        found = leaves(gradients)
        if not found:
            return None
        tap = self._tap(raw, found)
        tap.receiver.updating(found)
        loss = self.ears.take(next(iter(found.values())))
        loss = extra.get("value", loss)  # as a line search is given it
        return UpdateMeasure(self, tap, found, leaves(params), loss, rate_in(tap.maker, state))

    def _tap(self, raw: Any, found: dict[str, Any]) -> UpdateTap:
        shapes = tuple((name, tuple(leaf.shape)) for name, leaf in found.items())
        key = (id(raw), shapes)
        if key not in self.all:
            maker = self.makers.of(raw)
            subject = self._subject(maker, raw, tensors_of(found))
            receiver = self._receive(subject)
            self.all[key] = UpdateTap(receiver, tuple(found), maker, raw)
        return self.all[key]

    def _recorded(self, subject: Subject) -> Receiver:
        return Receiver(
            subject,
            self._settings,
            self._begin,
            self.ears.told,
            self._trouble,
            self._told,
        )

    def _told(self, watching: Watching, loss: float) -> None:
        self.stepped(watching, loss)

    def _subject(self, maker: Maker | None, raw: Any, tensors: tuple[Tensor, ...]) -> Subject:
        guard = self._settings.guard
        name = str(getattr(raw, "__qualname__", "update")).partition(".")[0]
        given = {} if maker is None else maker.given
        return Subject(
            script=self._script,
            model=_model(),
            optimizer=f"optax.{maker.title}" if maker else name,
            frontend="jax",
            backend="jax",
            versions=versions(),
            tensors=tensors,
            settings={
                **clips.as_settings(self._settings.clip),
                "guard": None if guard is None else str(guard.action),
                "every": self._settings.every,
                "beta2": given.get(
                    "b2", 0.999 if maker and maker.name.startswith("adam") else None
                ),
            },
        )

    @property
    def guarded(self) -> bool:
        """Whether a step may be held back."""
        return self._settings.guard is not None

    @property
    def clip(self) -> Any:
        """What bounds the gradients."""
        return self._settings.clip


class UpdateMeasure:
    """One update while it is computed, or traced."""

    def __init__(
        self,
        taps: Taps,
        tap: UpdateTap,
        found: dict[str, Any],
        weights: dict[str, Any],
        loss: Any,
        rate: Any,
    ) -> None:
        self.taps, self.tap = taps, tap
        self.loss, self.rate = loss, rate
        self.tensors = tap.receiver.subject.tensors
        self.read = jax.lax.optimization_barrier(list(found.values()))
        self.traced = any(map(compat.is_traced, self.read))
        self.norms, self.bad = arithmetic.norms(self.read)
        self.weights = _named(tap.names, weights)
        self.factors = self._factors()
        self.packed: Any = None

    def clipped(self, gradients: Any) -> Any:
        """What the optimizer is given: the same objects where there is no clip."""
        if self.taps.clip is None:
            return gradients
        factors = dict(
            zip(self.tap.names, jnp.broadcast_to(self.factors, self.norms.shape), strict=True)
        )
        flat, structure = jax.tree_util.tree_flatten(gradients)
        names = {id(leaf): name for name, leaf in leaves(gradients).items()}
        new = [g * factors[names[id(g)]].astype(g.dtype) if id(g) in names else g for g in flat]
        return jax.tree_util.tree_unflatten(structure, new)

    def after(self, updates: Any, new: Any, old: Any) -> Any:
        """What the script is given: updates and state, or none and the old one where the guard refuses."""
        named = leaves(updates)
        self.tap.receiver.made(named, self.tap.maker)
        made = _named(self.tap.names, named) or self.read
        made = jax.lax.optimization_barrier(made)
        ratios = self._reach()
        total = clips.global_norm(_XP, self.norms)
        factors = jnp.broadcast_to(self.factors, self.norms.shape)
        passed = passes(_XP, self.norms, total, factors, ratios, jnp.float32(_NO_CEILING))
        passed = passed & arithmetic.finite(made)
        handled = self.taps.scaled or _handles(self.tap.maker)
        self.packed = self._pack(made, ratios, factors, total, passed, handled)
        if not self.taps.guarded or handled:
            return updates, new
        if not self.traced:
            if bool(passed):
                return updates, new
            return jax.tree.map(jnp.zeros_like, updates), old
        return self.taps.open.hold(passed, updates), choose(passed, new, old)

    def send(self) -> None:
        """The figures go to the host: now, or whenever the function runs that is being traced."""
        if self.traced:
            jax.debug.callback(self.tap.receiver.arrived, self.packed)
        else:
            self.tap.receiver.arrived(self.packed)

    def _factors(self) -> Any:
        clip = self.taps.clip
        return jnp.float32(1.0) if clip is None else clip.factors(_XP, self.norms, {})[0]

    def _reach(self) -> Any:
        """See ``guard.reach``, of plain gradient descent."""
        maker = self.tap.maker
        nothing = jnp.zeros_like(self.norms)
        if not self.weights or maker is None or not _plain(maker):
            return nothing
        sizes = arithmetic.rms(self.weights)
        per = jnp.asarray([1 / math.sqrt(t.fan_in) if t.fan_in else 0.0 for t in self.tensors])
        root = jnp.asarray([math.sqrt(math.prod(t.shape)) for t in self.tensors])
        counted = jnp.asarray([bool(t.fan_in) for t in self.tensors])
        scale = jnp.where(counted, jnp.maximum(sizes, per), 1.0)
        rate = jnp.asarray(self.rate, jnp.float32)
        found = jnp.where(counted, jnp.abs(rate) / (root * scale), 0.0)
        return jnp.where(jnp.isfinite(found), found, 0.0)

    def _pack(
        self, made: Any, ratios: Any, factors: Any, total: Any, passed: Any, handled: bool
    ) -> Any:
        nothing = jnp.full_like(self.norms, jnp.nan)
        weights = arithmetic.rms(self.weights) if self.weights else nothing
        moved = arithmetic.rms(made)
        own = self.loss is not None
        loss = jnp.mean(jnp.asarray(self.loss, jnp.float32)) if own else jnp.float32(jnp.nan)
        table = [
            self.norms,
            self.bad,
            *arithmetic.more(self.read),
            weights,
            moved,
            ratios,
            factors,
        ]
        scalars = [loss, self.rate, passed, float(handled), _place(), total, float(own)]
        flat = [jnp.asarray(one, jnp.float32).reshape(()) for one in scalars]
        return jnp.concatenate([*table, jnp.stack(flat)])


def expect(settings: Settings) -> None:
    """Raise EvengradError for what cannot be done here."""
    if settings.guard is not None and settings.guard.action is Action.ROLLBACK:
        raise EvengradError(
            msg(
                "With optax the weights belong to the script, and evengrad cannot put back older ones. "
                "Expected "
                "the guard stop, skip:3 or off; got rollback."
            )
        )
    if settings.guard is not None and settings.guard.spike is not None:
        raise EvengradError(
            msg(
                "With optax the guard decides within the compiled step, which does not know the last norms. "
                "Expected a guard without spike=."
            )
        )
    clip = settings.clip
    if clip is not None and not (isinstance(clip, OfNorms) and not clip.start(1)):
        raise EvengradError(
            msg(
                "With optax evengrad clips by what needs no memory of the steps before. Expected --clip "
                "1.0 or tensor:1.0; for another kind put optax.adaptive_grad_clip or the like at the head "
                "of the chain."
            )
        )


def versions() -> tuple[str, ...]:
    """Such as "jax 0.10.2", "optax 0.2.8", "flax 0.12.8"."""
    names = ("jax", "optax", "flax", "equinox")
    loaded = [(name, sys.modules.get(name)) for name in names]
    return tuple(f"{name} {getattr(one, '__version__', '?')}" for name, one in loaded if one)


def _model() -> str:
    """Class of the module that the user's own functions hold, from the innermost outwards."""
    for frame in own_frames(sys._getframe(1)):
        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
            held = getattr(getattr(value, "apply_fn", None), "__self__", value)
            if _is_module(held):
                return type(held).__name__
    return "a pytree of arrays"


def _is_module(value: Any) -> bool:
    kind = type(value)
    return any(f"{base.__module__}.{base.__qualname__}" in _MODULES for base in kind.__mro__[1:])


def _named(names: tuple[str, ...], found: dict[str, Any]) -> list[Any]:
    """In the order of the names; empty where one is missing."""
    return [found[name] for name in names] if all(name in found for name in names) else []


def _handles(maker: Maker | None) -> bool:
    return maker is not None and any(one.name in _HANDLE for one in maker.all())


def _plain(maker: Maker) -> bool:
    """Whether it is gradient descent and nothing else, by which a step is the gradient times the rate."""
    made = [one for one in maker.all() if one.name != "chain"]
    return bool(made) and made[-1].name in _PLAIN


def _place() -> Any:
    """0 on the first device that a step is mapped over."""
    axes = compat.mapped_axes()
    return sum((jax.lax.axis_index(axis) for axis in axes), jnp.int32(0)) if axes else 0
