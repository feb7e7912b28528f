"""JAX: plain functions with optax."""

# needs: jax optax
# sick: "sgd(0.1)" -> "sgd(300.0)"

import jax
import jax.numpy as jnp
import numpy as np
import optax

rng = np.random.default_rng(0)
labels = rng.integers(0, 4, 640)
inputs = (rng.normal(size=(4, 20))[labels] + 0.5 * rng.normal(size=(640, 20))).astype("float32")


def scores(weights, x):
    hidden = jax.nn.relu(x @ weights["w1"] + weights["b1"])
    return hidden @ weights["w2"] + weights["b2"]


def loss_of(weights, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(scores(weights, x), y).mean()


one, two = jax.random.split(jax.random.key(0))
weights = {
    "w1": jax.random.normal(one, (20, 64)) * (2 / 20) ** 0.5,
    "b1": jnp.zeros(64),
    "w2": jax.random.normal(two, (64, 4)) * (1 / 64) ** 0.5,
    "b2": jnp.zeros(4),
}
optimizer = optax.sgd(0.1)
state = optimizer.init(weights)


@jax.jit
def train_step(weights, state, x, y):
    loss, gradients = jax.value_and_grad(loss_of)(weights, x, y)
    updates, state = optimizer.update(gradients, state, weights)
    return optax.apply_updates(weights, updates), state, loss


for step in range(60):
    rows = slice(step % 20 * 32, step % 20 * 32 + 32)
    weights, state, loss = train_step(weights, state, inputs[rows], labels[rows])
print("loss", float(loss))
