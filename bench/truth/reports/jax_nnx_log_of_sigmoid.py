# verdict: sick
# causes: loss_head
# source: google/flax discussions: nan loss with sigmoid and log
# names: log|logits
import jax, jax.numpy as jnp, numpy as np, optax
from flax import nnx
from sklearn.datasets import load_breast_cancer
x, y = load_breast_cancer(return_X_y=True)
x = ((x - x.mean(0)) / x.std(0)).astype(np.float32); y = y.astype(np.float32)
class Net(nnx.Module):
    def __init__(self, rngs):
        self.a = nnx.Linear(30, 32, rngs=rngs); self.b = nnx.Linear(32, 1, rngs=rngs)
    def __call__(self, x):
        return nnx.sigmoid(self.b(nnx.relu(self.a(x))))[:, 0]
def bce(model, x, y):
    p = model(x)
    return -jnp.mean(y * jnp.log(p) + (1 - y) * jnp.log(1 - p))
model = Net(nnx.Rngs(0)); opt = nnx.Optimizer(model, optax.adam(0.03), wrt=nnx.Param)
@nnx.jit
def step(model, opt, x, y):
    loss, g = nnx.value_and_grad(bce)(model, x, y)
    opt.update(model, g)
    return loss
for i in range(400):
    loss = step(model, opt, x, y)
    if i % 50 == 0: print(i, loss)
