"""Sick: some images lack pixels, and the file says so by NaN.

Cure: evengrad fix examples/sick/keras_bad_rows.py
"""

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = ((images - images.mean()) / images.std()).astype("float32")
bad = np.random.default_rng(0).random(len(x)) < 0.02
x[bad, :8] = np.nan  # the first row was not scanned

model = keras.Sequential(
    [
        keras.Input((64,)),
        layers.Dense(64, activation="relu"),
        layers.Dense(64, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile(
    optimizer=keras.optimizers.SGD(0.05, momentum=0.9), loss="sparse_categorical_crossentropy"
)
model.fit(x, labels, batch_size=32, epochs=10)
