"""The tap on one Keras optimizer: what is computed inside the step, on any backend.

``apply`` of the instance is replaced, never its class: on PyTorch Keras chooses its fast path by the exact
class. Under a LossScaleOptimizer it is the inner optimizer's. Watching changes no bit of the update: TensorFlow
runs it in a ``cond``, PyTorch under an ``if``; on JAX, where a second reader of a gradient would have XLA fuse
otherwise, the figures read it behind an optimization barrier, and a ``where`` chooses afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from evengrad.adapters.keras.arithmetic import InStep, dense, more, norms
from evengrad.adapters.keras.ring import AnyRing, Ring
from evengrad.adapters.keras.update import unscaled
from evengrad.clip import AGC, NormClip, UpdateClip, Value, global_norm
from evengrad.guard import Action, passes
from evengrad.run import Tensor
from evengrad.watching import Settings

_XP = InStep()


class Tap:
    """Patches an optimizer instance, from ``put_on`` to ``take_off``.

    kept: the model's own variables that a bad step may spoil before the optimizer is asked (moving
    statistics, the running loss), each with a copy of after the last good step; not on JAX, whose step hands
    them round. loss: set by whoever hears this step's loss.
    """

    def __init__(
        self,
        optimizer: Any,
        variables: Sequence[Any],
        tensors: Sequence[Tensor],
        ring: AnyRing,
        settings: Settings,
        kept: Sequence[tuple[Any, Any]],
    ) -> None:
        self.outer, self.optimizer = optimizer, unscaled(optimizer)
        self.ring: Any = ring
        self.loss: Any = None
        self.settings = settings
        self.index = {id(v): i for i, v in enumerate(variables)}
        self.tensors = tensors
        self._last = next((t.layer for t in reversed(tensors) if t.fan_in), None)
        self._kept = kept
        self._apply: Callable[..., Any] = self.optimizer.apply
        self._entry = "stateless_apply" if keras.backend.backend() == "jax" else "apply"

    @property
    def scaled(self) -> bool:
        """Whether there is a LossScaleOptimizer around it."""
        return self.outer is not self.optimizer

    def put_on(self) -> None:
        """Patch the instance."""
        self._apply = self.optimizer.apply
        self.optimizer.__dict__["apply"] = self.apply
        if self.scaled:
            self._outer_apply = getattr(self.outer, self._entry)
            jax = self._entry == "stateless_apply"
            self.outer.__dict__[self._entry] = self._begin_scaled_jax if jax else self._begin_scaled

    def take_off(self) -> None:
        """Take the patch off."""
        self.optimizer.__dict__.pop("apply", None)
        if self.scaled:
            self.outer.__dict__.pop(self._entry, None)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """In the place of ``Optimizer.apply``."""
        grads = list(grads)
        own = trainable_variables
        variables = list(self.optimizer._trainable_variables if own is None else own)
        if not self.scaled:
            self.ring.begin()
        factors, passed = self.look(grads, variables)
        grads = self._clipped(grads, variables, factors)

        def update() -> None:
            if isinstance(self.settings.clip, UpdateClip):
                self._update_clipped(grads, variables, own)
            else:
                self._apply(grads, own)

        if self.settings.guard is None:
            update()
        else:
            self._choose(passed, update, variables)

    # --- looking -------------------------------------------------------------------------------

    def look(self, grads: list[Any], variables: list[Any]) -> tuple[Any, Any]:
        """The clip's factors, and whether this step may reach the weights; leaves its row in the ring."""
        ring: Ring = self.ring
        status = ops.convert_to_tensor(ring.status)
        read, largest, zeros = self._figures(grads, variables, status[0] - 1)
        one = ops.ones((), "float32")
        total = global_norm(_XP, read)
        clip = self.settings.clip
        factors = one
        if isinstance(clip, NormClip):
            memory = {name: ops.convert_to_tensor(v) for name, v in ring.memory.items()}
            factors, memory = clip.factors(_XP, read, memory)
            for name, value in memory.items():
                ring.memory[name].assign(value)
        rate = ops.cast(self.optimizer.learning_rate, "float32")
        reach = ops.convert_to_tensor(ring.reach) * rate
        ceiling = ops.convert_to_tensor(ring.ceiling)
        passed = ops.cast(passes(_XP, read, total, factors, reach, ceiling), "float32")
        guard = self.settings.guard
        if guard is not None and guard.action is not Action.SKIP:
            passed = passed * (1 - status[2])
            halted = 1 - passed
        else:
            halted = status[2]
        ring.status.assign(ops.stack([status[0], status[1] + 1 - passed, halted, status[3]]))
        clipped = global_norm(_XP, read * factors)
        share = ops.where(total > 0, clipped / ops.where(total > 0, total, one), one)
        loss = one * float("nan") if self.loss is None else self.loss
        rest = ops.stack([total, share, passed, one, loss, rate])
        ring.write(ops.concatenate([read, largest, zeros, rest]))
        return factors, passed > 0

    def _figures(self, grads: list[Any], variables: list[Any], step: Any) -> tuple[Any, Any, Any]:
        """Norms, largest values and shares of zeros, each (tensors,); the last two on observed steps only."""
        places, known = self.known(grads, variables)
        known = _apart([dense(g) for g in known])
        count = len(self.tensors)
        if not known:
            zero = ops.zeros((count,), "float32")
            return zero, zero, zero
        observed = (step < 10) | ops.equal(ops.mod(step, float(self.settings.every)), 0)
        nothing = ops.zeros((2, len(known)), "float32") + float("nan")
        rest = ops.cond(observed, lambda: more(known), lambda: nothing)
        found = norms(known)
        scale = self.optimizer.loss_scale_factor
        if scale is not None:
            found, rest = found / scale, ops.stack([rest[0] / scale, rest[1]])
        if places == list(range(count)):
            return found, rest[0], rest[1]
        one = {place: i for i, place in enumerate(places)}
        order = [one.get(i, len(known)) for i in range(count)]
        padded = ops.pad(ops.concatenate([found[None], rest]), ((0, 0), (0, 1)))
        padded = ops.take(padded, ops.convert_to_tensor(order), axis=1)
        return padded[0], padded[1], padded[2]

    def known(self, grads: list[Any], variables: list[Any]) -> tuple[list[int], list[Any]]:
        """Which tensors have a gradient here, and those."""
        pairs = [
            (self.index[id(v)], g)
            for v, g in zip(variables, grads, strict=True)
            if g is not None and id(v) in self.index
        ]
        return [i for i, _ in pairs], [g for _, g in pairs]

    # --- clipping ------------------------------------------------------------------------------

    def _clipped(self, grads: list[Any], variables: list[Any], factors: Any) -> list[Any]:
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
                found.append(gradient if last else _by_units(clip, dense(gradient), variable, scale))
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
        scale = optimizer.loss_scale_factor or 1.0
        for variable, gradient, old in zip(variables, grads, before, strict=True):
            if gradient is None:
                continue
            place = optimizer._get_variable_index(variable)
            second = ops.convert_to_tensor(optimizer._velocities[place])
            beta = ops.cast(optimizer.beta_2, "float32")
            second = second / ops.cast(1 - ops.power(beta, step), second.dtype)
            ratio = ops.square(dense(gradient) / scale) / ops.maximum(second, clip.eps**2)
            factor = clip.factor(_XP, ops.sqrt(ops.mean(ops.cast(ratio, "float32"))))
            new = ops.convert_to_tensor(variable)
            variable.assign(old + ops.cast(factor, new.dtype) * (new - old))

    # --- holding back --------------------------------------------------------------------------

    def _choose(self, passed: Any, update: Callable[[], None], variables: list[Any]) -> None:
        """Update, or leave weights, optimizer state and moving statistics as before this step."""
        if keras.backend.backend() == "jax":
            ours = {id(v) for v in self.ring.variables}
            held = [v for v in self.optimizer.variables if id(v) not in ours] + variables
            old = [v.value for v in held]
            update()
            for variable, value in zip(held, old, strict=True):
                variable.assign(ops.where(passed, variable.value, value))
            return

        def good() -> None:
            update()
            for variable, copy in self._kept:
                copy.assign(variable)

        def bad() -> None:
            for variable, copy in self._kept:
                variable.assign(copy)

        if keras.backend.backend() == "torch":
            good() if bool(passed) else bad()
        else:
            ops.cond(passed, good, bad)

    # --- under a loss scaler -------------------------------------------------------------------

    def _begin_scaled(self, grads: Any, trainable_variables: Any = None) -> Any:
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


def _apart(gradients: list[Any]) -> list[Any]:
    """The same, read where it changes nothing of how XLA fuses the update."""
    if keras.backend.backend() != "jax" or not gradients:
        return gradients
    import jax

    return list(jax.lax.optimization_barrier([ops.convert_to_tensor(g) for g in gradients]))


def _by_units(clip: AGC, gradient: Any, variable: Any, scale: float) -> Any:
    """Units are the last axis of a kernel; a vector counts as one unit, as in the paper's code."""
    weight = ops.convert_to_tensor(variable)
    axes = tuple(range(len(weight.shape) - 1)) if len(weight.shape) > 1 else None
    keep = axes is not None
    g = ops.sqrt(ops.sum(ops.square(gradient / scale), axis=axes, keepdims=keep))
    w = ops.sqrt(ops.sum(ops.square(weight), axis=axes, keepdims=keep))
    return gradient * clip.unit_factors(_XP, g, w)
