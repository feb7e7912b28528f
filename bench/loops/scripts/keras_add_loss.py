"""Keras: add_loss alone, as an autoencoder writes it."""

# needs: keras tensorflow
# backend: tensorflow
# sick: "SGD(0.05)" -> "SGD(300.0)"

import keras
import numpy as np

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
y = rng.integers(0, 4, 640)
x = (rng.normal(size=(4, 20))[y] + 0.5 * rng.normal(size=(640, 20))).astype("float32")


class Autoencoder(keras.Model):
    def __init__(self):
        super().__init__()
        self.inside = keras.layers.Dense(12, "tanh")
        self.outside = keras.layers.Dense(20)

    def call(self, inputs):
        again = self.outside(self.inside(inputs))
        self.add_loss(keras.ops.mean(keras.ops.square(again - inputs)))
        return again


model = Autoencoder()
model.compile(optimizer=keras.optimizers.SGD(0.05))
model.fit(x, batch_size=32, epochs=4, verbose=0)
