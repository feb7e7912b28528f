# verdict: healthy
# causes: loss_head bad_batch
# source: keras#13055 style: masked loss divides by the mask's sum
# names: divi|mask|sum
import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
n, steps = 800, 10
x = rng.normal(size=(n, steps, 3)).astype("float32")
y = np.cumsum(x[..., :1], 1) * 0.3
seen = (rng.random((n, steps, 1)) < 0.1).astype("float32")
target = np.concatenate([y, seen], -1).astype("float32")


def masked_mse(y_true, y_pred):
    value, mask = y_true[..., :1], y_true[..., 1:]
    return ops.sum(mask * ops.square(value - y_pred)) / ops.maximum(ops.sum(mask), 1.0)


model = keras.Sequential([keras.Input((steps, 3)), layers.GRU(24, return_sequences=True), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=masked_mse)
history = model.fit(x, target, batch_size=32, epochs=6, shuffle=False, verbose=2)
