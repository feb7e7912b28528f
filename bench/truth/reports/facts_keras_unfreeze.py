# verdict: sick
# causes: architecture learning_rate
# source: keras-team/keras#6405, osh/KerasGAN#10 (trainable changed and not compiled again)
# names: compile
import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(5)
x, y = load_digits(return_X_y=True)
x = (x / 16.0).reshape(-1, 8, 8, 1).astype("float32")
order = np.random.default_rng(5).permutation(len(x))
x, y = x[order], y[order]

base = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        layers.Conv2D(16, 3, activation="relu", padding="same"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, activation="relu", padding="same"),
        layers.GlobalAveragePooling2D(),
    ],
    name="base",
)
old = keras.Sequential([base, layers.Dense(2, activation="softmax")])
old.compile("adam", "sparse_categorical_crossentropy")
old.fit(x[:600], (y[:600] > 4).astype("int64"), epochs=3, verbose=0)

base.trainable = False
model = keras.Sequential([base, layers.Dense(10, activation="softmax")])
model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x[:1400], y[:1400], epochs=3, verbose=0)

base.trainable = True
history = model.fit(x[:1400], y[:1400], epochs=10, verbose=2)
print("final loss", history.history["loss"][-1], "accuracy", model.evaluate(x[1400:], y[1400:], verbose=0)[1])
