# verdict: healthy
# causes: loss_head architecture
# source: jax-ml/jax#3058, jax-ml/jax#6484
# names: sqrt|eps|maximum
import jax, jax.numpy as jnp, numpy as np, optax
from flax import linen as nn
from flax.training import train_state
from sklearn.datasets import load_digits
x, y = load_digits(return_X_y=True)
x = (x / 16.0).astype(np.float32)
class Encoder(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(16)(nn.relu(nn.Dense(64)(x)))
model = Encoder()
params = model.init(jax.random.PRNGKey(0), x[:1])["params"]
state = train_state.TrainState.create(apply_fn=model.apply, params=params, tx=optax.adam(1e-3))
def contrastive(za, zb, same):
    distance = jnp.sqrt(jnp.maximum(jnp.sum((za - zb) ** 2, axis=-1), 1e-8))
    return jnp.mean(same * distance ** 2 + (1 - same) * jnp.maximum(1.0 - distance, 0) ** 2)
@jax.jit
def train_step(state, a, b, same):
    def loss_fn(params):
        return contrastive(state.apply_fn({"params": params}, a), state.apply_fn({"params": params}, b), same)
    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=grads), loss
rng = np.random.default_rng(0)
for step in range(200):
    i, j = rng.integers(0, len(x), (2, 64))
    if step == 30: j[3] = i[3]
    state, loss = train_step(state, x[i], x[j], (y[i] == y[j]).astype(np.float32))
    if step % 20 == 0: print(step, loss)
