# verdict: healthy
# causes: loss_head architecture
# source: tensorflow#12071: norm of a zero difference (siamese)
# names: norm|sqrt|epsilon
import numpy as np
import tensorflow as tf
from tensorflow import keras
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
rng = np.random.default_rng(0)
i, j = rng.integers(0, len(x), (2, 3000))
i[::40] = j[::40]  # some pairs are the same picture
same = (y[i] == y[j]).astype("float32")

base = keras.Sequential([keras.layers.Input((64,)), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(16)])
a, b = keras.layers.Input((64,)), keras.layers.Input((64,))
distance = keras.layers.Lambda(lambda t: tf.sqrt(tf.reduce_sum(tf.square(t[0] - t[1]), axis=1, keepdims=True) + 1e-7), output_shape=(1,))([base(a), base(b)])
model = keras.Model([a, b], distance)


def contrastive(y_true, d):
    return tf.reduce_mean(y_true * d + (1 - y_true) * tf.square(tf.maximum(1.0 - d, 0)))


model.compile("adam", contrastive)
history = model.fit([x[i], x[j]], same[:, None], batch_size=64, epochs=5, verbose=0)
print(history.history["loss"])
