# verdict: sick
# causes: precision normalisation
# source: keras-team/keras#22586 (mixed_float16 and an epsilon that is 0 in float16)
# names: epsilon|float16|half|float32|precision
import keras
import numpy as np
from keras import layers, ops
from sklearn.datasets import load_digits

keras.utils.set_random_seed(10)
keras.mixed_precision.set_global_policy("mixed_float16")


class ChannelNorm(layers.Layer):
    """Every pixel's channels to mean 0 and variance 1, as in the paper (epsilon 1e-12)."""

    def build(self, shape):
        self.gamma = self.add_weight(shape=(shape[-1],), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(shape[-1],), initializer="zeros", name="beta")

    def call(self, x):
        mean = ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(x - mean), axis=-1, keepdims=True)
        return (x - mean) / ops.sqrt(variance + 1e-12) * self.gamma + self.beta


x, y = load_digits(return_X_y=True)
x = (x / 16).reshape(-1, 8, 8, 1).astype("float32")
inputs = keras.Input((8, 8, 1))
h = layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs)
h = layers.Activation("relu")(ChannelNorm()(h))
h = layers.Conv2D(32, 3, strides=2, padding="same")(h)
h = layers.Activation("relu")(ChannelNorm()(h))
h = layers.GlobalAveragePooling2D()(h)
outputs = layers.Dense(10, activation="softmax", dtype="float32")(h)
model = keras.Model(inputs, outputs)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x[:1400], y[:1400], batch_size=32, epochs=5, verbose=2)
print("final loss", history.history["loss"][-1], "accuracy", model.evaluate(x[1400:], y[1400:], verbose=0)[1])
