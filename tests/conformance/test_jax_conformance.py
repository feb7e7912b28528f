"""JAX without Keras against the plain float64 reference: flax linen, flax nnx, and Equinox."""

import numpy as np
import pytest
import reference
from networks import EPSILON, NETWORKS, make, steps

pytest.importorskip("optax")
jax = pytest.importorskip("jax")

import optax  # noqa: E402

import evengrad  # noqa: E402
from evengrad.diagnosis.budget import budget, operations_on_path  # noqa: E402
from evengrad.values.spec import Kind  # noqa: E402

jnp, lax = jax.numpy, jax.lax
NAMES = {"gamma": "scale", "beta": "bias"}


def linen(name, weights, x):
    nn = pytest.importorskip("flax.linen")

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            kept = []
            for kind, layer in steps(name):
                if kind == "save":
                    kept.append(x)
                elif kind == "add":
                    x = x + kept.pop()
                elif kind == "flatten":
                    x = x.reshape(len(x), -1)
                elif not layer:
                    x = getattr(nn, kind)(x)
                else:
                    x = self.layer(kind, layer, x)(x)
            return x

        def layer(self, kind, layer, x):
            own = {k[1]: v for k, v in weights.items() if k[0] == layer}
            if kind == "conv":
                return nn.Conv(own["kernel"].shape[-1], (3, 3), name=layer)
            if kind == "depthwise":
                channels = x.shape[-1]
                return nn.Conv(
                    channels, (3, 3), 2, "VALID", feature_group_count=channels, name=layer
                )
            if kind == "dense":
                return nn.Dense(own["kernel"].shape[-1], name=layer)
            if kind == "bn":
                return nn.BatchNorm(use_running_average=False, epsilon=EPSILON, name=layer)
            return nn.LayerNorm(epsilon=EPSILON, name=layer)

    net = Net()
    variables = net.init(jax.random.PRNGKey(0), x)
    params = {}
    for (layer, key), value in weights.items():
        own = np.moveaxis(value, 3, 2) if key == "kernel" and value.shape[-1:] == (1,) else value
        params.setdefault(layer, {})[NAMES.get(key, key)] = jnp.asarray(own)
    return net.bind({**variables, "params": params}, mutable=["batch_stats"])


def functions(name, weights, x):
    """The same in plain JAX, as an Equinox module has it."""
    eqx = pytest.importorskip("equinox")

    class Net(eqx.Module):
        weights: dict

        def __call__(self, x):
            kept = []
            for kind, layer in steps(name):
                w = self.weights.get(layer, {})
                if kind == "save":
                    kept.append(x)
                elif kind == "add":
                    x = x + kept.pop()
                elif kind == "flatten":
                    x = x.reshape(-1)
                elif not layer:
                    x = getattr(jax.nn, kind)(x)
                elif kind == "dense":
                    x = x @ w["kernel"] + w["bias"]
                else:
                    x = convolved(kind, x, w["kernel"]) + w["bias"]
            return x

    def convolved(kind, x, kernel):
        stride, pad, groups = (2, "VALID", x.shape[-1]) if kind == "depthwise" else (1, "SAME", 1)
        if kind == "depthwise":
            kernel = jnp.swapaxes(kernel, 2, 3)
        return lax.conv_general_dilated(
            x[None],
            kernel,
            (stride, stride),
            pad,
            feature_group_count=groups,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )[0]

    own = {}
    for (layer, key), value in weights.items():
        own.setdefault(layer, {})[key] = jnp.asarray(value)
    return Net(own)


CASES = [(linen, name) for name in NETWORKS]
CASES += [(functions, name) for name in NETWORKS if "norm" not in name]


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize(("build", "name"), CASES)
def test_budget_equals_the_reference(build, name, seed):
    weights, (x, y) = make(name, seed)
    gains, total = reference.budget(name, weights, (x, y))
    model = build(name, weights, x)
    loss = optax.softmax_cross_entropy_with_integer_labels
    probe = evengrad.check(model, loss=loss, batch=(x, y)).probe
    found = [op for op in operations_on_path(probe) if op.kind is not Kind.RESHAPE]
    gains = [gain for gain in gains if gain[0] != "flatten"]
    assert len(found) == len(gains), [op.type for op in found]
    for op, (kind, expected) in zip(found, gains, strict=True):
        assert op.log_gain == pytest.approx(expected, abs=1e-3), (op.name, kind)
    assert budget(probe).total == pytest.approx(total, abs=1e-3)
