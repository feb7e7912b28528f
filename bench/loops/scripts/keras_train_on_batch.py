"""Keras: train_on_batch."""

# needs: keras tensorflow
# backend: tensorflow
# sick: "SGD(0.1)" -> "SGD(300.0)"

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
model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss_of)
for step in range(60):
    rows = slice(step % 20 * 32, step % 20 * 32 + 32)
    loss = model.train_on_batch(x[rows], y[rows])
print("loss", loss)
