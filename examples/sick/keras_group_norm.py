"""Sick: six convolutions whose weights are too small for so many, trained on eight images at a time.

Cure: evengrad fix examples/sick/keras_group_norm.py --only normalisation
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = ((images - images.mean()) / images.std()).astype("float32")
x = x.reshape(-1, 8, 8, 1)


class Net(keras.Model):
    def __init__(self):
        super().__init__()
        small = keras.initializers.RandomNormal(stddev=0.02, seed=1)
        self.conv1 = layers.Conv2D(
            16, 3, padding="same", activation="relu", kernel_initializer=small
        )
        self.conv2 = layers.Conv2D(
            16, 3, padding="same", activation="relu", kernel_initializer=small
        )
        self.conv3 = layers.Conv2D(
            16, 3, padding="same", activation="relu", kernel_initializer=small
        )
        self.conv4 = layers.Conv2D(
            16, 3, padding="same", activation="relu", kernel_initializer=small
        )
        self.conv5 = layers.Conv2D(
            16, 3, padding="same", activation="relu", kernel_initializer=small
        )
        self.conv6 = layers.Conv2D(
            16, 3, padding="same", activation="relu", kernel_initializer=small
        )
        self.flatten = layers.Flatten()
        self.head = layers.Dense(10)

    def call(self, x):
        x = self.conv3(self.conv2(self.conv1(x)))
        x = self.conv6(self.conv5(self.conv4(x)))
        return self.head(self.flatten(x))


model = Net()
model.compile(
    optimizer=keras.optimizers.SGD(0.02),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
model.fit(x, labels, batch_size=8, epochs=10)
