"""JAX: Equinox with optax."""

# needs: jax equinox optax
# sick: "sgd(0.1)" -> "sgd(300.0)"

import equinox as eqx
import jax
import numpy as np
import optax

rng = np.random.default_rng(0)
labels = rng.integers(0, 4, 640)
inputs = (rng.normal(size=(4, 20))[labels] + 0.5 * rng.normal(size=(640, 20))).astype("float32")

model = eqx.nn.MLP(20, 4, 64, 1, key=jax.random.key(0))
optimizer = optax.sgd(0.1)
state = optimizer.init(eqx.filter(model, eqx.is_array))


@eqx.filter_value_and_grad
def loss_of(model, x, y):
    scores = jax.vmap(model)(x)
    return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()


@eqx.filter_jit
def train_step(model, state, x, y):
    loss, gradients = loss_of(model, x, y)
    updates, state = optimizer.update(gradients, state, eqx.filter(model, eqx.is_array))
    return eqx.apply_updates(model, updates), state, loss


for step in range(60):
    rows = slice(step % 20 * 32, step % 20 * 32 + 32)
    model, state, loss = train_step(model, state, inputs[rows], labels[rows])
print("loss", float(loss))
