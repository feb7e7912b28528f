"""Sick: ten layers of sigmoids; hardly any gradient reaches the first.

Cure: evengrad fix examples/sick/keras_deep_sigmoid.py
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = ((images - images.mean()) / images.std()).astype("float32")

model = keras.Sequential([keras.Input((64,))])
for _ in range(10):
    model.add(layers.Dense(64, activation="sigmoid"))
model.add(layers.Dense(10, activation="softmax"))

model.compile(optimizer=keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
model.fit(x, labels, batch_size=32, epochs=10)
