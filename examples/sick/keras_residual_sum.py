"""Sick: fifty residual blocks, each of which adds as much as it is given: the sum doubles at every one.

Cure: evengrad fix examples/sick/keras_residual_sum.py
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
x = ((images - images.mean()) / images.std()).astype("float32")

inputs = keras.Input((64,))
h = layers.Dense(48)(inputs)
for n in range(50):
    branch = layers.Activation("relu")(h)
    branch = layers.Dense(48, kernel_initializer="he_normal", name=f"branch_{n}")(branch)
    h = layers.Add()([h, branch])
outputs = layers.Dense(10)(h)
model = keras.Model(inputs, outputs)
model.compile(
    optimizer=keras.optimizers.SGD(learning_rate=0.02),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
model.fit(x, labels, batch_size=32, epochs=10)
