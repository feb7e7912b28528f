"""Sick: a convolutional network whose weights shrink the signal to nothing, layer after layer.

Cure: evengrad fix examples/sick/keras_unit_variance.py --only unit_variance
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = ((images - images.mean()) / images.std()).astype("float32").reshape(-1, 8, 8, 1)


def weights():
    return keras.initializers.RandomUniform(-0.02, 0.02)


inputs = keras.Input((8, 8, 1))
h = inputs
for filters in (16, 16, 32, 32):
    h = layers.Conv2D(filters, 3, padding="same", activation="relu", kernel_initializer=weights())(
        h
    )
h = layers.Flatten()(h)
outputs = layers.Dense(10, kernel_initializer=weights())(h)
model = keras.Model(inputs, outputs)
model.compile(
    optimizer=keras.optimizers.SGD(learning_rate=0.02),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
model.fit(x, labels, batch_size=32, epochs=10)
