# verdict: sick
# causes: normalisation
# source: keras#6014 (fit says 1.0, evaluate on the same data .5: moving statistics of BatchNorm too slow for the run), JAX
# names: momentum|moving|statistic
import os

os.environ["KERAS_BACKEND"] = "jax"
import numpy as np
import keras
from keras.layers import BatchNormalization, Conv2D, Dense, Flatten, LeakyReLU

keras.utils.set_random_seed(4)
rng = np.random.default_rng(4)

# chairs have four legs, lamps have a shade: 24 x 24 drawings
N = 64
tensors = 5 + 0.5 * rng.standard_normal((N, 24, 24, 3)).astype("float32")
labels = np.arange(N) % 2
for n in range(N):
    x, y = rng.integers(2, 6, 2)
    if labels[n]:
        for leg in range(4):
            tensors[n, y + 8 : y + 16, x + 4 * leg] -= 1.0
    else:
        for row in range(8):
            tensors[n, y + row, x + 8 - row : x + 8 + row] -= 1.0

model = keras.models.Sequential()
model.add(keras.Input((24, 24, 3)))
model.add(Conv2D(filters=8, kernel_size=[4, 4], strides=2, padding="same"))
model.add(LeakyReLU(0.2))
model.add(BatchNormalization(axis=3))
model.add(Conv2D(filters=16, kernel_size=[4, 4], strides=2, padding="same"))
model.add(LeakyReLU(0.2))
model.add(BatchNormalization(axis=3))
model.add(Conv2D(filters=32, kernel_size=[4, 4], strides=2, padding="same"))
model.add(LeakyReLU(0.2))
model.add(BatchNormalization(axis=3))
model.add(Flatten())
model.add(Dense(1, activation="sigmoid"))
model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])

history = model.fit(tensors, labels, batch_size=8, epochs=3, shuffle=True, verbose=2)
metrics = model.evaluate(tensors, labels, verbose=0)
print("training data results:", dict(zip(model.metrics_names, metrics)))
