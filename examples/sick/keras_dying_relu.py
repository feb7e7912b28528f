"""Sick: a layer whose biases lie so far below zero that none of its ReLUs ever fires.

Cure: evengrad fix examples/sick/keras_dying_relu.py --only tailored
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = ((images - images.mean()) / images.std()).astype("float32")

low = keras.initializers.Constant(-6.0)
inputs = keras.Input((64,))
h = layers.Dense(64, activation="relu", name="first")(inputs)
h = layers.Dense(64, activation="relu", name="second", bias_initializer=low)(h)
outputs = layers.Dense(10, activation="softmax", name="head")(h)
model = keras.Model(inputs, outputs)
model.compile(
    optimizer=keras.optimizers.SGD(0.1, momentum=0.9), loss="sparse_categorical_crossentropy"
)
model.fit(x, labels, batch_size=32, epochs=10)
