# verdict: sick
# causes: loss_head input_data
# source: SO: multi-output model learns only one output
# names: scale|loss_weights|normalis|target|times
import numpy as np
import keras
from keras import layers
keras.utils.set_random_seed(3)
rng = np.random.default_rng(3)
x = rng.normal(size=(1500, 10)).astype("float32")
label = (x[:, 0] * x[:, 1] > 0).astype("int32")
salary = 50000 + 12000 * x[:, 2] - 8000 * x[:, 3] + 1000 * rng.normal(size=1500)
inp = keras.Input((10,))
h = layers.Dense(64, activation="relu")(inp)
h = layers.Dense(32, activation="relu")(h)
a = layers.Dense(2, activation="softmax", name="label")(h)
b = layers.Dense(1, name="salary")(h)
model = keras.Model(inp, [a, b])
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=["sparse_categorical_crossentropy", "mse"], metrics=[["accuracy"], []])
h = model.fit(x, [label, salary], epochs=25, batch_size=32, verbose=0)
print({k: v[-1] for k, v in h.history.items()})
