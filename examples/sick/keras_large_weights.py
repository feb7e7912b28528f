"""Sick: weights drawn from a normal distribution of one standard deviation for all layers, far too wide.

Cure: evengrad fix examples/sick/keras_large_weights.py
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = (images / 16.0).astype("float32")

wide = keras.initializers.RandomNormal(stddev=1.0)
inputs = keras.Input((64,))
h = layers.Dense(128, activation="relu", kernel_initializer=wide)(inputs)
h = layers.Dense(128, activation="relu", kernel_initializer=wide)(h)
h = layers.Dense(128, activation="relu", kernel_initializer=wide)(h)
outputs = layers.Dense(10, activation="softmax", kernel_initializer=wide)(h)
model = keras.Model(inputs, outputs)

model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, labels, batch_size=32, epochs=10)
