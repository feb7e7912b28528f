"""Sick: a learning rate so small that the weights hardly move.

Cure: evengrad fix examples/sick/keras_rate_too_small.py
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = ((images - images.mean()) / images.std()).astype("float32")


class Classifier(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(64, activation="relu")
        self.head = layers.Dense(10, activation="softmax")

    def call(self, inputs):
        return self.head(self.hidden(inputs))


model = Classifier()
optimizer = keras.optimizers.Adam(learning_rate=1e-9)
model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, labels, batch_size=32, epochs=10)
