# verdict: healthy
# causes: learning_rate
# source: keras.io timeseries_transformer_classification discussions, SO "Keras transformer stuck at chance, Adam 0.01"
# names: learning rate|rate|warm
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers
from sklearn.datasets import load_digits

tf.keras.utils.set_random_seed(61)
x, y = load_digits(return_X_y=True)
x = (x.reshape(-1, 8, 8) / 16).astype("float32")


def encoder(h, heads=2, size=8, ff=64):
    a = layers.MultiHeadAttention(num_heads=heads, key_dim=size)(h, h)
    h = layers.LayerNormalization()(h + a)
    f = layers.Dense(ff, activation="relu")(h)
    f = layers.Dense(h.shape[-1])(f)
    return layers.LayerNormalization()(h + f)


inputs = layers.Input((8, 8))
h = layers.Dense(32)(inputs)
for _ in range(3):
    h = encoder(h)
h = layers.Flatten()(h)
h = layers.Dense(64, activation="relu")(h)
model = tf.keras.Model(inputs, layers.Dense(10, activation="softmax")(h))
model.compile(loss="sparse_categorical_crossentropy", optimizer=tf.keras.optimizers.Adam(learning_rate=0.001), metrics=["accuracy"])
history = model.fit(x[:1400], y[:1400], batch_size=32, epochs=6, verbose=2)
print("final loss", history.history["loss"][-1], "accuracy", model.evaluate(x[1400:], y[1400:], verbose=0)[1])
