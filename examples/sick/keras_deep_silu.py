"""Sick: forty layers of SiLU with Keras' own weights, in which the signal and the gradient fade.

Cure: evengrad fix examples/sick/keras_deep_silu.py --only shaped
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
images = (images - images.mean()) / images.std()

model = keras.Sequential([keras.Input((64,))])
for _ in range(40):
    model.add(layers.Dense(48, activation="silu"))
model.add(layers.Dense(10))

model.compile(
    optimizer=keras.optimizers.SGD(0.002, momentum=0.9),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
model.fit(images.astype("float32"), labels, batch_size=32, epochs=20, verbose=2)
