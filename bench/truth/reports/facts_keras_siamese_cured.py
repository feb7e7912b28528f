# verdict: healthy
# causes: loss_head architecture bad_batch
# source: keras-team/keras#9097, sounakdey/SigNet#1 (euclidean_distance without epsilon is NaN where both inputs are equal)
# names: sqrt|epsilon|maximum
import keras
import numpy as np
from keras import layers, ops
from sklearn.datasets import load_digits

keras.utils.set_random_seed(4)
x, y = load_digits(return_X_y=True)
x = (x / 16.0).astype("float32")
rng = np.random.default_rng(4)
left = rng.integers(0, len(x), 1500)
right = np.where(rng.random(1500) < 0.5, rng.integers(0, len(x), 1500), left)  # a pair may be one image twice
same = (y[left] == y[right]).astype("float32")


def euclidean_distance(vectors):
    a, b = vectors
    squared = ops.sum(ops.square(a - b), axis=1, keepdims=True)
    return ops.sqrt(ops.maximum(squared, keras.config.epsilon()))


def contrastive(y_true, d):
    return ops.mean(y_true * d + (1 - y_true) * ops.maximum(1.0 - d, 0))


tower = keras.Sequential([keras.Input((64,)), layers.Dense(64, activation="relu"), layers.Dense(16)])
a, b = keras.Input((64,)), keras.Input((64,))
distance = layers.Lambda(euclidean_distance, output_shape=(1,))([tower(a), tower(b)])
model = keras.Model([a, b], distance)
model.compile(keras.optimizers.Adam(1e-3), loss=contrastive)
history = model.fit([x[left], x[right]], same, batch_size=32, epochs=6, verbose=2)
d = model.predict([x[left], x[right]], verbose=0).ravel()
print("final loss", history.history["loss"][-1], "accuracy", np.mean((d < 0.5) == (same > 0)))
