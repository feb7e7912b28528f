"""Sick: inputs in the thousands; the tanh of the first layer sits on its flat ends.

Cure: evengrad fix examples/sick/keras_raw_inputs.py
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = (images * 255.0).astype("float32")

model = keras.Sequential(
    [
        keras.Input((64,)),
        layers.Dense(64, activation="tanh"),
        layers.Dense(64, activation="tanh"),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer=keras.optimizers.SGD(0.05), loss="sparse_categorical_crossentropy")
model.fit(x, labels, batch_size=32, epochs=10)
