"""JAX: flax linen with TrainState."""

# needs: jax flax optax
# sick: "sgd(0.1)" -> "sgd(300.0)"

import jax
import numpy as np
import optax
from flax import linen as nn
from flax.training.train_state import TrainState

rng = np.random.default_rng(0)
labels = rng.integers(0, 4, 640)
inputs = (rng.normal(size=(4, 20))[labels] + 0.5 * rng.normal(size=(640, 20))).astype("float32")


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(4)(nn.relu(nn.Dense(64)(x)))


model = Net()
weights = model.init(jax.random.key(0), inputs[:1])["params"]
state = TrainState.create(apply_fn=model.apply, params=weights, tx=optax.sgd(0.1))


@jax.jit
def train_step(state, x, y):
    def loss_of(params):
        scores = state.apply_fn({"params": params}, x)
        return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()

    loss, gradients = jax.value_and_grad(loss_of)(state.params)
    return state.apply_gradients(grads=gradients), loss


for step in range(60):
    rows = slice(step % 20 * 32, step % 20 * 32 + 32)
    state, loss = train_step(state, inputs[rows], labels[rows])
print("loss", float(loss))
