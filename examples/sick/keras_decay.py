"""Sick: a rate that suits the start, and is too large once the loss has become sharp.

Cure: evengrad fix examples/sick/keras_decay.py --only decay
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = ((images - images.mean()) / images.std()).astype("float32")

model = keras.Sequential(
    [
        keras.Input((64,)),
        layers.Dense(128, activation="tanh"),
        layers.Dense(128, activation="tanh"),
        layers.Dense(10),
    ]
)
model.compile(
    optimizer=keras.optimizers.SGD(learning_rate=0.2, momentum=0.9),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
model.fit(x, labels, batch_size=16, epochs=10)
