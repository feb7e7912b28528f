"""Sick: weights a hundred times too small; no gradient reaches the first layers.

Cure: evengrad fix examples/sick/keras_small_weights.py
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = ((images - images.mean()) / images.std()).astype("float32")


def small():
    return keras.initializers.RandomNormal(stddev=0.003)


inputs = keras.Input((64,))
h = layers.Dense(96, activation="relu", kernel_initializer=small())(inputs)
h = layers.Dense(96, activation="relu", kernel_initializer=small())(h)
h = layers.Dense(96, activation="relu", kernel_initializer=small())(h)
h = layers.Dense(96, activation="relu", kernel_initializer=small())(h)
outputs = layers.Dense(10, activation="softmax", kernel_initializer=small())(h)
model = keras.Model(inputs, outputs)
model.compile(optimizer=keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
model.fit(x, labels, batch_size=32, epochs=10)
