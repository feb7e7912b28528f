"""Sick: the network ends in logits, but the loss takes them for probabilities.

Cure: evengrad fix examples/sick/keras_logits.py
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = (images / 16.0).astype("float32")

model = keras.Sequential(
    [keras.Input((64,)), layers.Dense(64, activation="relu"), layers.Dense(64, activation="relu")]
)
model.add(layers.Dense(10))

model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, labels, batch_size=32, epochs=10)
