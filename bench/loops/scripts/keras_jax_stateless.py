"""Keras on JAX: stateless_call and stateless_apply under jit."""

# needs: keras jax
# backend: jax
# sick: "SGD(0.1)" -> "SGD(300.0)"

import jax
import keras
import numpy as np

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
y = rng.integers(0, 4, 640)
x = (rng.normal(size=(4, 20))[y] + 0.5 * rng.normal(size=(640, 20))).astype("float32")

model = keras.Sequential(
    [keras.Input((20,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(4)]
)
loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.SGD(0.1)
optimizer.build(model.trainable_variables)


def compute_loss(trainable, others, inputs, targets):
    scores, others = model.stateless_call(trainable, others, inputs, training=True)
    return loss_of(targets, scores), others


gradient_of = jax.value_and_grad(compute_loss, has_aux=True)


@jax.jit
def train_step(state, inputs, targets):
    trainable, others, own = state
    (loss, others), gradients = gradient_of(trainable, others, inputs, targets)
    trainable, own = optimizer.stateless_apply(own, gradients, trainable)
    return loss, (trainable, others, own)


state = (
    [v.value for v in model.trainable_variables],
    [v.value for v in model.non_trainable_variables],
    [v.value for v in optimizer.variables],
)
for step in range(60):
    rows = slice(step % 20 * 32, step % 20 * 32 + 32)
    loss, state = train_step(state, x[rows], y[rows])
print("loss", float(loss))
