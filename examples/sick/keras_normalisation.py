"""Sick: six sigmoid layers; the signal is lost among their flat ends.

Cure: evengrad fix examples/sick/keras_normalisation.py --only normalisation
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = ((images - images.mean()) / images.std()).astype("float32")

inputs = keras.Input((64,))
h = layers.Dense(64, activation="sigmoid")(inputs)
h = layers.Dense(64, activation="sigmoid")(h)
h = layers.Dense(64, activation="sigmoid")(h)
h = layers.Dense(64, activation="sigmoid")(h)
h = layers.Dense(64, activation="sigmoid")(h)
h = layers.Dense(64, activation="sigmoid")(h)
outputs = layers.Dense(10, activation="softmax")(h)
model = keras.Model(inputs, outputs)
model.compile(
    optimizer=keras.optimizers.SGD(0.1, momentum=0.9), loss="sparse_categorical_crossentropy"
)
model.fit(x, labels, batch_size=64, epochs=10)
