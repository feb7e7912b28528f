"""Which call of a layer, an activation or a loss an equation belongs to: each gets a scope with a number."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from evengrad.adapters.common.importing import when_imported
from evengrad.adapters.common.patching import Patches
from evengrad.values.probe import Family, Reads
from evengrad.values.spec import Kind

_SCOPE = "evengrad_"
_NUMBER = re.compile(_SCOPE + r"(\d+)")
_LAYERS = {
    "Dense DenseGeneral Conv ConvLocal ConvTranspose Linear LinearGeneral Einsum Conv1d Conv2d Conv3d "
    "ConvTranspose1d ConvTranspose2d ConvTranspose3d Bilinear": Kind.WEIGHTS,
    "BatchNorm LayerNorm GroupNorm RMSNorm InstanceNorm WeightNorm SpectralNorm": Kind.NORMALISATION,
    "Embed Embedding": Kind.EMBEDDING,
    "Dropout": Kind.DROPOUT,
    "LSTMCell OptimizedLSTMCell GRUCell SimpleCell MGUCell": Kind.RECURRENT,
}
LAYERS = tuple(
    name for names, kind in _LAYERS.items() if kind is Kind.WEIGHTS for name in names.split()
)
"""Classes of layers with weight matrices."""
ACTIVATIONS = [
    "relu",
    "relu6",
    "gelu",
    "silu",
    "swish",
    "sigmoid",
    "softplus",
    "soft_sign",
    "softmax",
    "log_softmax",
    "elu",
    "selu",
    "celu",
    "leaky_relu",
    "hard_tanh",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "log_sigmoid",
    "glu",
    "mish",
    "squareplus",
    "sparse_plus",
]
"""Functions of jax.nn, which flax hands on."""
_POOLS = "avg_pool max_pool min_pool pool"
LOSSES: dict[str, tuple[Family, Reads]] = {
    "softmax_cross_entropy_with_integer_labels": ("sparse_categorical", "logits"),
    "softmax_cross_entropy": ("categorical", "logits"),
    "safe_softmax_cross_entropy": ("categorical", "logits"),
    "sigmoid_binary_cross_entropy": ("binary", "logits"),
    "squared_error": ("regression", "values"),
    "l2_loss": ("regression", "values"),
    "huber_loss": ("regression", "values"),
    "log_cosh": ("regression", "values"),
    "hinge_loss": ("other", "values"),
    "ctc_loss": ("other", "logits"),
}
"""optax' own, with what they compare and what they read."""


@dataclass(frozen=True, slots=True, eq=False)
class ScopeMark:
    """One call.

    Attributes:
        kind: what it is.
        type: its class or function.
    """

    kind: Kind
    type: str


class ScopeMarks:
    """The calls that were marked."""

    def __init__(self) -> None:
        self._made: list[ScopeMark] = []

    def put_on(self, patches: Patches, wanted: Callable[[], bool]) -> None:
        """Mark what is called from now on. wanted: whether still."""
        self._activations(patches, jax.nn)
        if hasattr(jax.nn, "dot_product_attention"):
            patches.wrap(
                jax.nn,
                "dot_product_attention",
                self.function(Kind.ATTENTION, "dot_product_attention"),
            )

        def later(name: str, mark: Callable[[Any], object]) -> None:
            when_imported(name, lambda module: wanted() and mark(module))

        for name in ("flax.linen", "flax.nnx", "equinox.nn"):
            later(name, lambda module: self._module(patches, module))
        later("optax", lambda module: self._losses(patches, module))

    def of(self, stack: str) -> tuple[int, ScopeMark] | None:
        """The outermost call in a name stack, with its number."""
        found = _NUMBER.search(stack)
        return None if found is None else (int(found[1]), self._made[int(found[1])])

    def _activations(self, patches: Patches, module: Any) -> None:
        for name in ACTIVATIONS:
            function = getattr(module, name, None)
            if function is not None and not hasattr(function, "__evengrad_patch__"):
                patches.wrap(module, name, self.function(Kind.ACTIVATION, name))

    def _module(self, patches: Patches, module: Any) -> None:
        self._activations(patches, module)
        for names, kind in _LAYERS.items():
            for name in names.split():
                layer = getattr(module, name, None)
                if inspect.isclass(layer) and "__call__" in vars(layer):
                    patches.wrap(layer, "__call__", self.function(kind, name))
        for name in _POOLS.split():
            if inspect.isfunction(getattr(module, name, None)):
                patches.wrap(module, name, self.function(Kind.POOLING, name))

    def _losses(self, patches: Patches, optax: Any) -> None:
        for name in LOSSES:
            if hasattr(optax, name):
                patches.wrap(optax, name, self.function(Kind.LOSS, name))

    def function(self, kind: Kind, name: str) -> Callable[[Any], Any]:
        """Marks each call of what it is given."""

        def mark(original: Any) -> Any:
            @functools.wraps(original)
            def call(*args: Any, **kwargs: Any) -> Any:
                self._made.append(ScopeMark(kind, name))
                with jax.named_scope(f"{_SCOPE}{len(self._made) - 1}"):
                    return original(*args, **kwargs)

            return call

        return mark
