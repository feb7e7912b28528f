"""Healthy: residual blocks with batch normalisation.

Left alone by: evengrad fix examples/healthy/keras_resnet.py
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = ((images - images.mean()) / images.std()).astype("float32")
x = x.reshape(-1, 8, 8, 1)


def block(h, width):
    skip = h
    h = layers.Conv2D(width, 3, padding="same", use_bias=False)(h)
    h = layers.ReLU()(layers.BatchNormalization()(h))
    h = layers.Conv2D(width, 3, padding="same", use_bias=False)(h)
    return layers.ReLU()(layers.Add()([layers.BatchNormalization()(h), skip]))


inputs = keras.Input((8, 8, 1))
h = layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
for _ in range(3):
    h = block(h, 16)
outputs = layers.Dense(10)(layers.GlobalAveragePooling2D()(h))
model = keras.Model(inputs, outputs)
model.compile(
    optimizer=keras.optimizers.SGD(0.02, momentum=0.9),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
model.fit(x, labels, batch_size=32, epochs=10)
