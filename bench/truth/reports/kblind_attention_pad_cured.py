# verdict: healthy
# causes: architecture input_data
# source: keras-team/keras#9477-like, SO "softmax over a fully masked (all padding) row gives nan in my attention layer"
# names: mask|padding|-inf|softmax|empty
import os

os.environ["KERAS_BACKEND"] = "jax"
import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(14)
rng = np.random.default_rng(14)


class AttentionPooling(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.score = layers.Dense(1)

    def call(self, x, tokens):
        scores = ops.squeeze(self.score(x), -1)
        scores = ops.where(ops.not_equal(tokens, 0), scores, -1e9)
        weights = ops.softmax(scores, axis=-1)
        return ops.sum(x * ops.expand_dims(weights, -1), axis=1)


def tickets(n, length=12):
    """Support tickets as word ids; some people send an empty text."""
    x = np.zeros((n, length), "int32")
    y = rng.integers(0, 3, n)
    for i in range(n):
        k = rng.integers(0, length) if rng.random() > 0.02 else 0
        words = rng.integers(10, 60, k)
        if k:
            words[rng.integers(0, k)] = 1 + 3 * y[i] + rng.integers(0, 3)
        x[i, :k] = words
    return x, y


x, y = tickets(2000)
tokens = keras.Input((12,), dtype="int32")
h = layers.Embedding(64, 24)(tokens)
h = AttentionPooling()(h, tokens)
h = layers.Dense(32, activation="relu")(h)
model = keras.Model(tokens, layers.Dense(3, activation="softmax")(h))
model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x[:1600], y[:1600], epochs=12, batch_size=32, verbose=2)
print("final loss", history.history["loss"][-1], "accuracy", model.evaluate(x[1600:], y[1600:], verbose=0)[1])
