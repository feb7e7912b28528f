"""Sick on JAX and PyTorch: a softmax in front of a loss that applies one itself (TensorFlow mends it).

Cure: KERAS_BACKEND=torch evengrad fix examples/sick/keras_softmax_twice.py
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
        layers.Dense(64, activation="relu"),
        layers.Dense(64, activation="relu"),
        layers.Dense(10),
        layers.Softmax(),
    ]
)
model.compile(
    optimizer=keras.optimizers.SGD(0.05),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
model.fit(x, labels, batch_size=32, epochs=10)
