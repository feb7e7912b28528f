"""What to write, in the user's own framework: the wording that several rules share."""

from __future__ import annotations

from evengrad.theory.activations import canonical, named_moments
from evengrad.values.message import msg
from evengrad.values.probe import Probe

NORMALISE = msg(
    "normalise the inputs: subtract the training set's mean, divide by its standard deviation"
)
"""What to do with them."""

_KERAS_INITIALISER = {"relu": '"he_normal"', "selu": '"lecun_normal"'}
_TORCH_NONLINEARITY = {"relu": "relu", "leaky_relu": "leaky_relu", "selu": "selu"}


def initialiser(probe: Probe, activation: str | None) -> str:
    """Code that gives a layer variance-preserving weights under that activation's type."""
    name = "linear" if activation is None else canonical(activation)
    if probe.frontend == "jax":
        return _flax_initialiser(probe, name)
    if probe.frontend == "keras":
        if name in _KERAS_INITIALISER:
            return f"kernel_initializer={_KERAS_INITIALISER[name]}"
        scale = _gain(name) ** 2
        return (
            f'kernel_initializer=keras.initializers.VarianceScaling({scale:.3g}, "fan_in", '
            '"truncated_normal")'
        )
    if name in _TORCH_NONLINEARITY:
        return f'nn.init.kaiming_normal_(layer.weight, nonlinearity="{_TORCH_NONLINEARITY[name]}")'
    return (
        f"nn.init.normal_(layer.weight, std={_gain(name):.4g} / fan_in ** 0.5), "
        "fan_in = layer.weight[0].numel()"
    )


def _flax_initialiser(probe: Probe, name: str) -> str:
    """In flax' words; Equinox has no argument for it."""
    scale = _gain(name) ** 2
    own = {"relu": "he_normal()", "selu": "lecun_normal()"}.get(name)
    own = own or f'variance_scaling({scale:.3g}, "fan_in", "truncated_normal")'
    if any(one.startswith("equinox") for one in probe.versions):
        return msg(
            "eqx.tree_at(lambda layer: layer.weight, layer, jax.nn.initializers.{own} of its shape)",
            own=own,
        )
    return f"kernel_init=nn.initializers.{own}"


def relu(probe: Probe) -> str:
    """Code of the plainest activation whose slope does not shrink a gradient."""
    if probe.frontend == "jax":
        return "jax.nn.relu"
    return 'activation="relu"' if probe.frontend == "keras" else "nn.ReLU()"


def _gain(name: str) -> float:
    known = named_moments(name)
    return 1.0 if known is None else known.gain
