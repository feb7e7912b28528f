# verdict: healthy
# causes: learning_rate
# source: patrick-kidger/equinox discussions: loss stays at 2.3
# names: learning rate
import jax, jax.numpy as jnp, numpy as np, optax, equinox as eqx
from jaxtyping import Array, Float, Int
from sklearn.datasets import load_digits
x, y = load_digits(return_X_y=True)
x = (x.reshape(-1, 1, 8, 8) / 16.0).astype(np.float32)

class CNN(eqx.Module):
    layers: list
    def __init__(self, key):
        k1, k2, k3 = jax.random.split(key, 3)
        self.layers = [
            eqx.nn.Conv2d(1, 3, kernel_size=4, key=k1),
            eqx.nn.MaxPool2d(kernel_size=2),
            jax.nn.relu,
            jnp.ravel,
            eqx.nn.Linear(48, 64, key=k2),
            jax.nn.sigmoid,
            eqx.nn.Linear(64, 10, key=k3),
            jax.nn.log_softmax,
        ]
    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

def cross_entropy(y, pred_y):
    pred_y = jnp.take_along_axis(pred_y, jnp.expand_dims(y, 1), axis=1)
    return -jnp.mean(pred_y)

@eqx.filter_jit
def loss(model, x, y):
    pred_y = jax.vmap(model)(x)
    return cross_entropy(y, pred_y)

model = CNN(jax.random.PRNGKey(5678))
optim = optax.adamw(3e-3)

def train(model, optim):
    opt_state = optim.init(eqx.filter(model, eqx.is_array))
    @eqx.filter_jit
    def make_step(model, opt_state, x, y):
        loss_value, grads = eqx.filter_value_and_grad(loss)(model, x, y)
        updates, opt_state = optim.update(grads, opt_state, eqx.filter(model, eqx.is_array))
        model = eqx.apply_updates(model, updates)
        return model, opt_state, loss_value
    rng = np.random.default_rng(0)
    for step in range(200):
        b = rng.integers(0, len(x), 64)
        model, opt_state, l = make_step(model, opt_state, x[b], y[b])
        if step % 25 == 0: print(step, l.item())
    return model
model = train(model, optim)
