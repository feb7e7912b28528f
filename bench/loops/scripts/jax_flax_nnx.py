"""JAX: flax nnx with nnx.Optimizer."""

# needs: jax flax optax
# sick: "sgd(0.1)" -> "sgd(300.0)"

import numpy as np
import optax
from flax import nnx

rng = np.random.default_rng(0)
labels = rng.integers(0, 4, 640)
inputs = (rng.normal(size=(4, 20))[labels] + 0.5 * rng.normal(size=(640, 20))).astype("float32")


class Net(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(20, 64, rngs=rngs)
        self.scores = nnx.Linear(64, 4, rngs=rngs)

    def __call__(self, x):
        return self.scores(nnx.relu(self.hidden(x)))


model = Net(nnx.Rngs(0))
optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)


@nnx.jit
def train_step(model, optimizer, x, y):
    def loss_of(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    loss, gradients = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, gradients)
    return loss


for step in range(60):
    rows = slice(step % 20 * 32, step % 20 * 32 + 32)
    loss = train_step(model, optimizer, inputs[rows], labels[rows])
print("loss", float(loss))
