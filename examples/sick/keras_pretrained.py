"""Sick: weights a hundred times too small, where those of a net for the digits below five lie in a file.

Cure: evengrad fix examples/sick/keras_pretrained.py --pretrained examples/sick/digits.weights.h5
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = ((images - images.mean()) / images.std()).astype("float32")


def small():
    return keras.initializers.RandomNormal(stddev=0.002)


model = keras.Sequential(
    [
        keras.Input((64,)),
        layers.Dense(32, activation="relu", kernel_initializer=small()),
        layers.Dense(32, activation="relu", kernel_initializer=small()),
        layers.Dense(32, activation="relu", kernel_initializer=small()),
        layers.Dense(10),
    ]
)
model.compile(
    optimizer=keras.optimizers.SGD(learning_rate=0.1),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
model.fit(x, labels, batch_size=32, epochs=10)
