"""Sick: one rate for layers whose gradients differ a hundredfold; plain descent leaves the first ones behind.

Cure: evengrad fix examples/sick/keras_optimizer.py --only optimizer
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = ((images - images.mean()) / images.std()).astype("float32")

weights = keras.initializers.VarianceScaling(0.33, "fan_in", "uniform", seed=1)
model = keras.Sequential([keras.Input((64,))])
for _ in range(10):
    model.add(layers.Dense(64, activation="tanh", kernel_initializer=weights))
model.add(layers.Dense(10, activation="softmax"))
model.compile(optimizer=keras.optimizers.SGD(0.01), loss="sparse_categorical_crossentropy")
model.fit(x, labels, batch_size=32, epochs=10)
