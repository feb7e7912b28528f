"""Sick: a loss of small weight in half precision without loss scaling; float16 cannot hold its gradients.

Cure: evengrad fix examples/sick/keras_half_precision.py
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = ((images - images.mean()) / images.std()).astype("float32")

keras.mixed_precision.set_global_policy("mixed_float16")
model = keras.Sequential(
    [
        keras.Input((64,)),
        layers.Dense(128, activation="relu"),
        layers.Dense(128, activation="relu"),
        layers.Dense(10, dtype="float32"),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(1e-3, epsilon=1e-15),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    loss_weights=[1e-6],
    auto_scale_loss=False,
)
model.fit(x, labels, batch_size=32, epochs=10)
