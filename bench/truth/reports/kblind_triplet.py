# verdict: sick
# causes: learning_rate
# source: omoindrot/tensorflow-triplet-loss#18, #50 (the loss rests at the margin: all embeddings are one point)
# names: learning rate
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from tensorflow import keras
from tensorflow.keras import layers

keras.utils.set_random_seed(24)
MARGIN = 0.5
x, y = load_digits(return_X_y=True)
x = (x / 16).reshape(-1, 8, 8, 1).astype("float32")
rng = np.random.default_rng(24)
rows = {c: np.flatnonzero(y[:1400] == c) for c in range(10)}


def triplets(batch=32):
    while True:
        a, n = rng.integers(0, 10, batch), rng.integers(1, 10, batch)
        anchor = np.array([rng.choice(rows[c]) for c in a])
        positive = np.array([rng.choice(rows[c]) for c in a])
        negative = np.array([rng.choice(rows[(c + k) % 10]) for c, k in zip(a, n)])
        yield x[anchor], x[positive], x[negative]


class Siamese(keras.Model):
    def __init__(self, embedding):
        super().__init__()
        self.embedding = embedding
        self.loss_tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.loss_tracker]

    def call(self, inputs):
        return [self.embedding(part) for part in inputs]

    def train_step(self, data):
        (data,) = data if isinstance(data, tuple) and len(data) == 1 else (data,)
        with tf.GradientTape() as tape:
            a, p, n = (self.embedding(part, training=True) for part in data)
            ap = tf.reduce_sum(tf.square(a - p), -1)
            an = tf.reduce_sum(tf.square(a - n), -1)
            loss = tf.reduce_mean(tf.maximum(ap - an + MARGIN, 0.0))
        grads = tape.gradient(loss, self.embedding.trainable_weights)
        self.optimizer.apply_gradients(zip(grads, self.embedding.trainable_weights))
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}


embedding = keras.Sequential(
    [
        layers.Input((8, 8, 1)),
        layers.Conv2D(32, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        layers.Dense(32, activation="relu"),
        layers.Dense(8),
    ]
)
siamese = Siamese(embedding)
siamese.compile(optimizer=keras.optimizers.Adam(0.3))
spec = tuple(tf.TensorSpec((None, 8, 8, 1), tf.float32) for _ in range(3))
data = tf.data.Dataset.from_generator(triplets, output_signature=spec).map(lambda *t: (t,))
h = siamese.fit(data, steps_per_epoch=40, epochs=6, verbose=2)
e = embedding.predict(x, verbose=0)
near = ((e[1400:, None] - e[None, :1400]) ** 2).sum(-1).argmin(1)
print("final loss", h.history["loss"][-1], "1-nn accuracy", np.mean(y[near] == y[1400:]), "spread", e.std(0).max())
