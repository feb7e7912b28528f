"""Nine sigmoid layers in flax linen: the gradient never comes to the first ones. (`evengrad check` says so.)"""

import jax
import numpy as np
import optax
from flax import linen as nn
from flax.training import train_state
from sklearn.datasets import load_digits

x, y = load_digits(return_X_y=True)
x = (x / 16.0).astype(np.float32)


class MLP(nn.Module):
    @nn.compact
    def __call__(self, x):
        for _ in range(9):
            x = nn.sigmoid(nn.Dense(64)(x))
        return nn.Dense(10)(x)


@jax.jit
def train_step(state, images, labels):
    def loss_fn(params):
        logits = state.apply_fn({"params": params}, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=grads), loss


model = MLP()
params = model.init(jax.random.PRNGKey(0), x[:1])["params"]
state = train_state.TrainState.create(apply_fn=model.apply, params=params, tx=optax.sgd(0.1))
rng = np.random.default_rng(0)
for epoch in range(4):
    order = rng.permutation(len(x))
    for start in range(0, len(x) - 63, 64):
        batch = order[start : start + 64]
        state, loss = train_step(state, x[batch], y[batch])
    print(epoch, float(loss))
