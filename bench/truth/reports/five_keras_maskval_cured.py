# verdict: healthy
# causes: input_data bad_batch loss_head
# source: keras-team/keras#6825 (masked steps marked by 1e20: the loss does not ignore them, nan)
# names: 1e20|mask|overflow|inf|where|large
import os

os.environ["KERAS_BACKEND"] = "jax"
import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(2)
rng = np.random.default_rng(2)
MASK = -10.0
n, steps = 600, 10
x = rng.normal(size=(n, steps, 4)).astype("float32")
y = (0.5 * np.cumsum(x[..., :1], axis=1) / np.sqrt(steps) + 0.2 * x[..., 1:2]).astype("float32")
length = rng.integers(4, steps + 1, n)
for i, l in enumerate(length):
    x[i, l:] = MASK
    y[i, l:] = MASK

inputs = keras.Input((steps, 4))
h = layers.Masking(mask_value=MASK)(inputs)
h = layers.LSTM(24, return_sequences=True)(h)
model = keras.Model(inputs, layers.TimeDistributed(layers.Dense(1))(h))
model.compile(optimizer=keras.optimizers.Adam(5e-3), loss="mse")
history = model.fit(x, y, batch_size=32, epochs=12, verbose=2)
print("loss", history.history["loss"][0], "->", history.history["loss"][-1])
