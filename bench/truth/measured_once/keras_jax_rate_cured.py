# verdict: healthy
# causes: learning_rate
# source: keras guide: JAX loop written by hand, rate too large
# names: learning rate
import os
os.environ["KERAS_BACKEND"] = "jax"
import jax
import keras
import numpy as np
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
RATE = 0.1
x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(10)])
optimizer = keras.optimizers.SGD(learning_rate=RATE)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def compute(tv, ntv, a, b):
    logits, ntv = model.stateless_call(tv, ntv, a, training=True)
    return loss_fn(b, logits), ntv


grad_fn = jax.value_and_grad(compute, has_aux=True)


@jax.jit
def step(state, a, b):
    tv, ntv, ov = state
    (loss, ntv), grads = grad_fn(tv, ntv, a, b)
    tv, ov = optimizer.stateless_apply(ov, grads, tv)
    return loss, (tv, ntv, ov)


optimizer.build(model.trainable_variables)
state = tuple([v.value for v in part] for part in (model.trainable_variables, model.non_trainable_variables, optimizer.variables))
for epoch in range(5):
    for k in range(0, 1792, 32):
        loss, state = step(state, x[k : k + 32], y[k : k + 32])
    print(epoch, float(loss))
