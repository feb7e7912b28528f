# verdict: sick
# causes: loss_head bad_batch input_data
# source: keras#13203, SO 33712178 (log of a probability that a softmax gives as 0), own cross-entropy on JAX
# names: \blog\b|logarithm|epsilon|from_logits
import os

os.environ["KERAS_BACKEND"] = "jax"
import keras
import numpy as np
from keras import layers, ops
from sklearn.datasets import load_wine

keras.utils.set_random_seed(4)
x, y = load_wine(return_X_y=True)
x = x.astype("float32")
y = np.eye(3, dtype="float32")[y]


def cross_entropy(y_true, y_pred):
    return -ops.sum(y_true * ops.log(y_pred), axis=-1)


inputs = keras.Input((13,))
h = layers.Dense(32, activation="relu")(inputs)
outputs = layers.Dense(3, activation="softmax")(h)
model = keras.Model(inputs, outputs)
model.compile(optimizer=keras.optimizers.Adam(5e-3), loss=cross_entropy, metrics=["accuracy"])
history = model.fit(x, y, epochs=30, batch_size=32, verbose=0)
print(history.history["loss"][::6], history.history["accuracy"][-1])
