"""One forward and backward pass of a flax or Equinox model, measured without a script."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.jax.measure.measure import DifferentiatedCall, MeasuredCall
from evengrad.adapters.jax.measure.scopes import LOSSES, ScopeMarks
from evengrad.adapters.jax.tap.tap import versions
from evengrad.adapters.jax.tap.trees import leaves
from evengrad.errors import CannotCheckError
from evengrad.values.message import msg
from evengrad.values.probe import Probe
from evengrad.values.spec import Kind

_UNCHECKED = msg(
    "the learning rate was not checked: an optax optimizer keeps none; `evengrad check train.py` does"
)


def probe(
    model: Any,
    *,
    loss: Any,
    batch: Any,
    optimizer: Any = None,
    rate: bool = True,
    precise: bool = False,
) -> Probe:
    """Measure one batch; see adapters.probe.

    Args:
        model: a flax module (of linen: bound to its variables), or an Equinox one, mapped over the batch.
        loss: of outputs and targets, as optax has them; its mean is taken.
        batch: inputs and targets.
        optimizer: an optax one, for the coming update of each weight.
        rate: not worked out here.
        precise: nor this.

    Raises:
        CannotCheckError: what is no such model, or a loss that does not hang on its weights.
    """
    del rate, precise
    x, y = jax.tree.map(jnp.asarray, batch)
    marks = ScopeMarks()
    with Patches() as patches:
        marks.put_on(patches, lambda: True)
        params, forward = _split(model)
        named = getattr(loss, "__name__", "loss")
        marked = marks.function(Kind.LOSS, named)(loss) if named in LOSSES else loss

        def function(params: Any, x: Any, y: Any) -> Any:
            return jnp.mean(marked(forward(params, x), y))

        call = DifferentiatedCall(function, (0,), (params, x, y), {}, False)
        measured = MeasuredCall(call, marks)
        packed = np.asarray(jax.jit(measured.figures)())
        moved = {} if optimizer is None else _moved(optimizer, function, params, (x, y))
    name = getattr(getattr(optimizer, "update", None), "__qualname__", "").partition(".")[0]
    about = {
        "optimizer": f"optax.{name}" if optimizer is not None else None,
        "rate": None,
        "versions": versions(),
        "model": type(model).__name__,
        "notes": (_UNCHECKED,) if optimizer is not None else (),
    }
    return measured.probe(packed, measured.names, moved, about)


def _split(model: Any) -> tuple[Any, Callable[[Any, Any], Any]]:
    """The trained tensors, and the model as a function of them and of a batch."""
    linen, nnx, equinox = (sys.modules.get(n) for n in ("flax.linen", "flax.nnx", "equinox"))
    if linen is not None and isinstance(model, linen.Module):
        return _linen(model)
    if nnx is not None and isinstance(model, nnx.Module):
        graph, params, rest = nnx.split(model, nnx.Param, ...)
        return params, lambda own, x: nnx.merge(graph, own, rest)(x)
    if equinox is not None and isinstance(model, equinox.Module):
        params, rest = equinox.partition(model, equinox.is_inexact_array)
        return params, lambda own, x: jax.vmap(equinox.combine(own, rest))(x)
    raise CannotCheckError(
        msg(
            "Expected a flax or an Equinox module, got {kind}. For a training of functions "
            "alone run `evengrad check train.py`.",
            kind=type(model).__qualname__,
        )
    )


def _linen(model: Any) -> tuple[Any, Callable[[Any, Any], Any]]:
    if model.scope is None:
        raise CannotCheckError(
            msg(
                "This flax module has no weights yet. Expected one that is bound to them: "
                "model.bind(variables)."
            )
        )
    module, variables = model.unbind()
    others = {name: part for name, part in variables.items() if name != "params"}

    def forward(own: Any, x: Any) -> Any:
        return module.apply({**others, "params": own}, x, mutable=[*others])[0]

    return variables["params"], forward


def _moved(optimizer: Any, function: Any, params: Any, data: Any) -> dict[str, float]:
    """Root mean square of the first update of each weight."""
    gradients = jax.grad(function)(params, *data)
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    return {
        name: float(jnp.sqrt(jnp.mean(jnp.square(leaf.astype(jnp.float32)))))
        for name, leaf in leaves(updates).items()
    }
