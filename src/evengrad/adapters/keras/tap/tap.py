"""The tap on one Keras optimizer: what is computed inside the step, on any backend.

``apply`` of the instance is replaced, never its class: on PyTorch Keras chooses its fast path by the exact
class. Under a LossScaleOptimizer it is the inner optimizer's. Watching changes no bit of the update: ``apart``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.measure.spoiled import fragile
from evengrad.adapters.keras.measure.update import unscaled
from evengrad.adapters.keras.tap import bitwise, native
from evengrad.adapters.keras.tap.arithmetic import InStep, dense, more, norms, shaped
from evengrad.adapters.keras.tap.ring import FACTOR, AnyRing, Ring
from evengrad.recording.clip import AGC, NormClip, UpdateClip, Value, global_norm
from evengrad.recording.guard import Action, passes
from evengrad.recording.settings import Settings
from evengrad.values.run import Tensor

_XP = InStep()


class KerasTap:
    """Patches an optimizer instance, from ``put_on`` to ``take_off``.

    Args:
        optimizer: the model's own, in whatever it is wrapped.
        variables: the trained ones.
        tensors: the same, as the run has them.
        ring: takes the figures of each step.
        settings: how to watch.
        failed: told of an error of our own.
        jit: whether TensorFlow compiles the step by XLA.

    Attributes:
        heard: whether the loss of any step was: one that is NaN then is so, and not only unseen.
        together: makes one loss of those of a strategy's replicas.
        then: called behind each look with whether the step passed; None: nothing.
    """

    def __init__(
        self,
        optimizer: Any,
        variables: Sequence[Any],
        tensors: Sequence[Tensor],
        ring: AnyRing,
        settings: Settings,
        failed: Callable[[Exception], None],
        jit: bool = False,
    ) -> None:
        self.outer, self.optimizer = optimizer, unscaled(optimizer)
        self.ring: Any = ring
        self.heard = False
        self._loss: Any = None
        self.then: Callable[[Any], None] | None = None
        self.jit = jit
        self.failed = failed
        self.settings = settings
        self._watched = variables
        self.index = {id(v): i for i, v in enumerate(variables)}
        self.tensors = tensors
        self._last = next((t.layer for t in reversed(tensors) if t.fan_in), None)
        self._apply: Callable[..., Any] = self.optimizer.apply
        self._patches = Patches()
        self._merged: list[Any] | None = None
        self._parts: list[Any] = []
        self.together: Callable[[Any], Any] = ops.mean
        self._entry = "stateless_apply" if keras.backend.backend() == "jax" else "apply"

    @property
    def loss(self) -> Any:
        """Of this step; set by whoever hears it."""
        return self._loss

    @loss.setter
    def loss(self, value: Any) -> None:
        self._loss = value
        self.heard |= value is not None

    @property
    def scaled(self) -> bool:
        """Whether there is a LossScaleOptimizer around it."""
        return self.outer is not self.optimizer

    def put_on(self) -> None:
        """Patch the instance."""
        self._apply = self.optimizer.apply
        self._patches.put(self.optimizer, "apply", self.apply)
        if hasattr(self.optimizer, compat.MERGED_UPDATE):
            self._patches.wrap(self.optimizer, compat.MERGED_UPDATE, self._merging)
        if self.scaled:
            self._outer_apply = getattr(self.outer, self._entry)
            jax = self._entry == "stateless_apply"
            begin = self._begin_scaled_jax if jax else self._begin_scaled
            self._patches.put(self.outer, self._entry, begin)

    def take_off(self) -> None:
        """Take the patch off."""
        self._patches.undo()

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Instead of ``Optimizer.apply``."""
        own = trainable_variables
        whole = list(grads)
        variables = list(
            own if own is not None else compat.trained_by(self.optimizer) or self._watched
        )
        if native.is_replica():
            self._merged = [v for g, v in zip(whole, variables, strict=True) if g is not None]
            self._parts.append(self.loss)
            self._apply(whole, own)
            return
        try:
            if not self.scaled:
                self.ring.begin()
            grads, passed = self.look(whole, variables)
            if self.then is not None:
                self.then(passed)
        except Exception as error:  # of our own: the training goes on
            self.failed(error)
            self._apply(whole, own)
            return
        finally:
            self.loss = None

        kept = self._kept(variables)

        def update() -> None:
            if isinstance(self.settings.clip, UpdateClip):
                self._update_clipped(grads, variables, own)
            else:
                self._apply(grads, own)

        if self.settings.guard is None:
            update()
        else:
            self._choose(passed, update, grads, variables)
        if kept:
            self._take_back(kept, variables)

    # --- an update that is not finite --------------------------------------------------------------

    def _kept(self, variables: list[Any]) -> list[tuple[Any, Any]]:
        """Weights and state of before the step, where finite gradients can spoil them."""
        if not fragile(self.optimizer, variables):
            return []
        ours = {id(v) for v in self.ring.variables}
        state = [v for v in self.optimizer.variables if id(v) not in ours]
        return [(v, ops.copy(ops.convert_to_tensor(v))) for v in [*variables, *state]]

    def _take_back(self, kept: list[tuple[Any, Any]], variables: list[Any]) -> None:
        """Mark a step that has spoiled a weight; under a guard all is put back, bit for bit."""
        fine = finite(variables)
        guard = self.settings.guard
        if guard is not None:
            for variable, before in kept:
                variable.assign(ops.where(fine, ops.convert_to_tensor(variable), before))
        self.ring.spoil(fine, guard is not None and guard.action is not Action.SKIP)

    # --- looking -------------------------------------------------------------------------------

    def look(self, grads: list[Any], variables: list[Any]) -> tuple[list[Any], Any]:
        """The clipped gradients, and whether this step may reach the weights; leaves its row in the ring."""
        ring: Ring = self.ring
        status = ops.convert_to_tensor(ring.status)
        read, largest, zeros = self._figures(grads, variables, status[0] - 1)
        one = ops.ones((), "float32")
        total = global_norm(_XP, read)
        clip = self.settings.clip
        factors = one
        if isinstance(clip, NormClip):
            memory = {name: ops.convert_to_tensor(v) for name, v in ring.memory.items()}
            factors, after_it = clip.factors(_XP, read, memory)
            for name, value in after_it.items():
                ring.memory[name].assign(value)
        own = self.clipped(grads, variables, factors)
        after = read * factors
        if isinstance(clip, Value | AGC):
            after = self._norms(own, variables)
        rate = ops.cast(self.optimizer.learning_rate, "float32")
        reach = ops.convert_to_tensor(ring.reach) * rate
        ceiling = ops.convert_to_tensor(ring.ceiling)
        factors = after / ops.where(read > 0, read, one)
        passed = ops.cast(passes(_XP, read, total, factors, reach, ceiling), "float32")
        guard = self.settings.guard
        if guard is not None and guard.action is not Action.SKIP:
            passed = passed * (1 - status[2])
            halted = 1 - passed
        else:
            halted = status[2]
        ring.status.assign(ops.stack([status[0], status[1] + 1 - passed, halted, status[3]]))
        clipped = global_norm(_XP, after)
        share = ops.where(total > 0, clipped / ops.where(total > 0, total, one), one)
        loss = one * float("nan") if self.loss is None else self.loss
        rest = ops.stack([total, share, passed, one, loss, rate])
        ring.write(ops.concatenate([read, largest, zeros, rest]))
        return own, passed > 0

    def _figures(self, grads: list[Any], variables: list[Any], step: Any) -> tuple[Any, Any, Any]:
        """Norms, largest values and shares of zeros, each (tensors,); the last two on observed steps only."""
        places, known = self.known(grads, variables)
        own = [v for v, g in zip(variables, grads, strict=True) if g is not None and self.has(v)]
        copies = bitwise.copies([dense(g) for g in known], self.jit)
        known = [shaped(g, v) for g, v in zip(copies, own, strict=True)]
        if not known:
            zero = ops.zeros((len(self.tensors),), "float32")
            return zero, zero, zero
        observed = (step < 10) | ops.equal(ops.mod(step, float(self.settings.every)), 0)
        nothing = ops.zeros((2, len(known)), "float32") + float("nan")
        rest = ops.cond(observed, lambda: more(known), lambda: nothing)
        scale = self.optimizer.loss_scale_factor or 1.0
        found = (norms(known) / scale, rest[0] / scale, rest[1])
        return tuple(self._placed(places, values) for values in found)

    def _norms(self, grads: list[Any], variables: list[Any]) -> Any:
        """Of each tensor, (tensors,)."""
        places, known = self.known(grads, variables)
        scale = self.optimizer.loss_scale_factor or 1.0
        return self._placed(places, norms([dense(g) for g in known]) / scale)

    def _placed(self, places: list[int], values: Any) -> Any:
        """Values of some tensors among all, (tensors,), 0 for those that have none."""
        if places == list(range(len(self.tensors))):
            return values
        one = {place: i for i, place in enumerate(places)}
        order = [one.get(i, len(places)) for i in range(len(self.tensors))]
        return ops.take(ops.pad(values, (0, 1)), ops.convert_to_tensor(order))

    def known(self, grads: list[Any], variables: list[Any]) -> tuple[list[int], list[Any]]:
        """Which tensors have a gradient here, and those."""
        pairs = [
            (self.index[id(v)], g)
            for v, g in zip(variables, grads, strict=True)
            if g is not None and self.has(v)
        ]
        return [i for i, _ in pairs], [g for _, g in pairs]

    def has(self, variable: Any) -> bool:
        """Whether it is one of the tensors that are watched."""
        return id(variable) in self.index

    # --- clipping ------------------------------------------------------------------------------

    def clipped(self, grads: list[Any], variables: list[Any], factors: Any) -> list[Any]:
        """The gradients as the optimizer is to see them."""
        clip = self.settings.clip
        if clip is None or isinstance(clip, UpdateClip):
            return grads
        scale = self.optimizer.loss_scale_factor or 1.0
        found = []
        for gradient, variable in zip(grads, variables, strict=True):
            i = self.index.get(id(variable))
            if gradient is None or i is None:
                found.append(gradient)
            elif isinstance(clip, Value):
                found.append(ops.clip(dense(gradient), -clip.bound * scale, clip.bound * scale))
            elif isinstance(clip, AGC):
                last = self.tensors[i].layer == self._last
                found.append(
                    gradient if last else _by_units(clip, dense(gradient), variable, scale)
                )
            else:
                factor = factors if len(factors.shape) == 0 else factors[i]
                found.append(dense(gradient) * ops.cast(factor, gradient.dtype))
        return found

    def _update_clipped(self, grads: list[Any], variables: list[Any], own: Any) -> None:
        """StableAdamW around any Adam: the step is made, and taken back in part."""
        clip, optimizer = self.settings.clip, self.optimizer
        assert isinstance(clip, UpdateClip)
        before = [ops.copy(ops.convert_to_tensor(v)) for v in variables]
        self._apply(grads, own)
        step = ops.cast(optimizer.iterations, "float32")
        scale, least = optimizer.loss_scale_factor or 1.0, ops.ones((), "float32")
        for variable, gradient, old in zip(variables, grads, before, strict=True):
            if gradient is None:
                continue
            second = ops.convert_to_tensor(compat.slot(optimizer, "velocities", variable))
            beta = ops.cast(optimizer.beta_2, "float32")
            second = second / ops.cast(1 - ops.power(beta, step), second.dtype)
            ratio = ops.square(dense(gradient) / scale) / ops.maximum(second, clip.eps**2)
            factor = clip.factor(_XP, ops.sqrt(ops.mean(ops.cast(ratio, "float32"))))
            new = ops.convert_to_tensor(variable)
            variable.assign(old + ops.cast(factor, new.dtype) * (new - old))
            least = ops.minimum(least, factor)
        self.ring.amend(FACTOR, least)

    # --- holding back --------------------------------------------------------------------------

    def _choose(
        self, passed: Any, update: Callable[[], None], grads: list[Any], variables: list[Any]
    ) -> None:
        ours = {id(v) for v in self.ring.variables}
        state = [v for v in self.optimizer.variables if id(v) not in ours]
        clip = self.settings.clip
        pairs = [] if isinstance(clip, UpdateClip) else list(zip(grads, variables, strict=True))
        exact = clip is None
        bitwise.choose(passed, update, state + variables, pairs, self.optimizer, self.jit, exact)

    # --- under a strategy of several devices -----------------------------------------------------

    def _merging(self, original: Any) -> Any:
        """The update where the replicas meet: it may stand in a branch there, and not in a replica. The
        gradients are then the sums of all, as Keras has clipped them.
        """

        def update(distribution: Any, pairs: Any, rate: Any) -> None:
            variables, self._merged = self._merged, None
            losses, self._parts = self._parts, []
            whole = list(pairs)
            if variables is None:
                original(distribution, whole, rate)
                return
            try:
                self.ring.begin()
                if all(loss is not None for loss in losses):
                    self.loss = self.together(ops.stack(losses))
                grads = [native.first_of(distribution, g) for g, _ in whole]
                _, passed = self.look(grads, variables)
            except Exception as error:  # of our own: the training goes on
                self.failed(error)
                original(distribution, whole, rate)
                return
            finally:
                self.loss = None
            if self.settings.guard is None:
                original(distribution, whole, rate)
            else:
                ops.cond(passed, lambda: original(distribution, whole, rate), lambda: None)

        return update

    # --- under a loss scaler -------------------------------------------------------------------

    def _begin_scaled(self, grads: Any, trainable_variables: Any = None) -> Any:
        if not native.is_replica():
            self.ring.begin()
        return self._outer_apply(grads, trainable_variables)

    def _begin_scaled_jax(self, optimizer_variables: Any, grads: Any, trained: Any) -> Any:
        values = list(optimizer_variables)
        with keras.StatelessScope(zip(self.outer.variables, values, strict=True)) as scope:
            self.ring.begin()
        for i, variable in enumerate(self.outer.variables):
            value = scope.get_current_value(variable)
            values[i] = values[i] if value is None else value
        return self._outer_apply(values, grads, trained)


def finite(variables: Sequence[Any]) -> Any:
    """Whether all of them are, a bool scalar."""
    return ops.all(ops.stack([ops.all(ops.isfinite(ops.convert_to_tensor(v))) for v in variables]))


def _by_units(clip: AGC, gradient: Any, variable: Any, scale: float) -> Any:
    """Units are the last axis of a kernel; a vector counts as one unit, as in the paper's code."""
    weight = ops.convert_to_tensor(variable)
    axes = tuple(range(len(weight.shape) - 1)) if len(weight.shape) > 1 else None
    keep = axes is not None
    g = ops.sqrt(ops.sum(ops.square(gradient / scale), axis=axes, keepdims=keep))
    w = ops.sqrt(ops.sum(ops.square(weight), axis=axes, keepdims=keep))
    return gradient * clip.unit_factors(_XP, g, w)
