"""Updates on their way from an optimizer to the weights, so that a step that is held back moves none.

An update that is chosen from two, its own or none, is rounded otherwise than one that XLA fuses with the
addition to the weights. So the weights are computed as they would be without us, and put back where they are
not to be. Who adds an update without ``apply_updates`` gets one that is zero where the step is held back.

Not solved: a gradient that XLA fuses with the update itself, as with an L2 term in the loss, is rounded once
more where it is read besides, so that its last bit may differ.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.jax import compat


@dataclass(frozen=True, slots=True, eq=False)
class OpenUpdate:
    """An update that was made and not yet applied.

    Attributes:
        raw: as the optimizer made it.
        given: its leaves as the script has them.
        passed: whether the step may reach the weights.
    """

    raw: Any
    given: tuple[Any, ...]
    passed: Any


class OpenUpdates:
    """Those of all optimizers. trouble: is told of an error of ours."""

    def __init__(self, trouble: Callable[[Exception], object]) -> None:
        self._trouble = trouble
        self._open: list[OpenUpdate] = []

    def put_on(self, patches: Patches, module: Any) -> None:
        """Apply what comes by ``module.apply_updates``."""
        patches.wrap(module, "apply_updates", self._applying)

    def hold(self, passed: Any, updates: Any) -> Any:
        """What the script is given of an update: the same where it passes, else nothing to add."""
        safe = jax.tree.map(lambda u: jnp.where(passed, u, jnp.zeros_like(u)), updates)
        self._open = [*self._open[-7:], OpenUpdate(updates, tuple(jax.tree.leaves(safe)), passed)]
        return safe

    def _applying(self, original: Any) -> Any:
        @functools.wraps(original)
        def apply_updates(params: Any, updates: Any, *args: Any, **kwargs: Any) -> Any:
            found = self._taken(updates)
            if found is None:
                return original(params, updates, *args, **kwargs)
            new = original(params, found.raw, *args, **kwargs)
            try:
                return choose(found.passed, new, params)
            except Exception as error:
                self._trouble(error)
                return original(params, updates, *args, **kwargs)

        return apply_updates

    def _taken(self, updates: Any) -> OpenUpdate | None:
        given = jax.tree.leaves(updates)
        for one in self._open:
            same = len(one.given) == len(given)
            if same and all(a is b for a, b in zip(one.given, given, strict=True)):
                self._open = [other for other in self._open if other is not one]
                return one
        return None


def choose(passed: Any, new: Any, old: Any) -> Any:
    """A tree of arrays as it was made, or as it was before."""
    after, structure = jax.tree.flatten(new)
    before = jax.tree.leaves(old)
    if len(before) != len(after):
        raise ValueError(f"a tree of {len(before)} leaves became one of {len(after)}")
    places = [i for i, leaf in enumerate(after) if leaf is not before[i] and _is_array(leaf)]
    if not places:
        return new
    made = jax.lax.optimization_barrier([after[i] for i in places])
    kept = [jnp.asarray(before[i], after[i].dtype) for i in places]
    chosen = jax.lax.cond(passed, lambda a, _: a, lambda _, b: b, made, kept)
    for place, value in zip(places, chosen, strict=True):
        after[place] = value
    return jax.tree.unflatten(structure, after)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) or compat.is_traced(leaf)
