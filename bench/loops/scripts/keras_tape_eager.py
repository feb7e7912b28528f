"""Keras: a tf.GradientTape of one's own, eager."""

# needs: keras tensorflow
# backend: tensorflow
# sick: "SGD(0.1)" -> "SGD(300.0)"

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
y = rng.integers(0, 4, 640)
x = (rng.normal(size=(4, 20))[y] + 0.5 * rng.normal(size=(640, 20))).astype("float32")

model = keras.Sequential(
    [keras.Input((20,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(4)]
)
loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.SGD(0.1)
for step in range(40):
    rows = slice(step % 20 * 32, step % 20 * 32 + 32)
    with tf.GradientTape() as tape:
        loss = loss_of(y[rows], model(x[rows], training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
print("loss", float(loss))
