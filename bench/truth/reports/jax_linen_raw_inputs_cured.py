# verdict: healthy
# causes: input_data learning_rate
# source: google/flax#1131 kind: pixels as they are with plain SGD
# names: normalis|learning rate
import jax, jax.numpy as jnp, numpy as np, optax
from flax import linen as nn
from flax.training import train_state
from sklearn.datasets import load_digits

RATE = 0.1
x, y = load_digits(return_X_y=True)
x = (x / 16.0).astype(np.float32)

class MLP(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(64)(x))
        x = nn.relu(nn.Dense(64)(x))
        return nn.Dense(10)(x)

model = MLP()
params = model.init(jax.random.PRNGKey(0), x[:1])["params"]
state = train_state.TrainState.create(apply_fn=model.apply, params=params, tx=optax.sgd(RATE))

@jax.jit
def train_step(state, x, y):
    def loss_fn(params):
        logits = state.apply_fn({"params": params}, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=grads), loss

rng = np.random.default_rng(0)
for epoch in range(5):
    order = rng.permutation(len(x))
    for i in range(0, len(x) - 63, 64):
        b = order[i:i + 64]
        state, loss = train_step(state, x[b], y[b])
    print(epoch, float(loss))
print(float(sum(jnp.sum(p) for p in jax.tree.leaves(state.params))).hex())
