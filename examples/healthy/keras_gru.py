"""Healthy: a gated recurrent network over rows of pixels.

Left alone by: evengrad fix examples/healthy/keras_gru.py
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = ((images - images.mean()) / images.std()).astype("float32")
x = x.reshape(-1, 8, 8)


class Reader(keras.Model):
    def __init__(self):
        super().__init__()
        self.reader = layers.GRU(48)
        self.head = layers.Dense(10)

    def call(self, x):
        return self.head(self.reader(x))


model = Reader()
model.compile(
    optimizer=keras.optimizers.Adam(0.003),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
model.fit(x, labels, batch_size=32, epochs=10)
