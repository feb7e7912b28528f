"""Keras on PyTorch: loss.backward() and optimizer.apply."""

# needs: keras torch
# backend: torch
# sick: "SGD(0.1)" -> "SGD(300.0)"

import torch
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
for step in range(60):
    rows = slice(step % 20 * 32, step % 20 * 32 + 32)
    model.zero_grad()
    loss = loss_of(torch.tensor(y[rows]), model(torch.tensor(x[rows]), training=True))
    loss.backward()
    trainable = list(model.trainable_weights)
    with torch.no_grad():
        optimizer.apply([v.value.grad for v in trainable], trainable)
print("loss", float(loss.detach()))
