"""Sick: fifty plain layers; whatever goes in, the same comes out of the last of them.

Cure: evengrad fix examples/sick/keras_deep_plain.py --only skip
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = ((images - images.mean()) / images.std()).astype("float32")

model = keras.Sequential([keras.Input((64,)), layers.Dense(48, activation="relu")])
for _ in range(50):
    model.add(layers.Dense(48, activation="relu"))
model.add(layers.Dense(10, activation="softmax"))
model.compile(
    optimizer=keras.optimizers.SGD(0.01, momentum=0.9), loss="sparse_categorical_crossentropy"
)
model.fit(x, labels, batch_size=32, epochs=10)
