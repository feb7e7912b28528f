# verdict: healthy
# causes: loss_head initialisation architecture
# source: blog.keras.io autoencoders, comments and SO "sparse autoencoder loss stuck at 0.26" (activity_regularizer too strong)
# names: regulari|l1|penalt
import numpy as np
from sklearn.datasets import load_digits
from tensorflow import keras
from tensorflow.keras import layers, regularizers

keras.utils.set_random_seed(6)
x, _ = load_digits(return_X_y=True)
x = (x / 16.0).astype("float32")
x_train, x_test = x[:1500], x[1500:]

input_img = keras.Input(shape=(64,))
encoded = layers.Dense(32, activation="relu", activity_regularizer=regularizers.l1(1e-6))(input_img)
decoded = layers.Dense(64, activation="sigmoid")(encoded)
autoencoder = keras.Model(input_img, decoded)
autoencoder.compile(optimizer=keras.optimizers.Adam(3e-3), loss="binary_crossentropy")
history = autoencoder.fit(
    x_train, x_train, epochs=40, batch_size=64, shuffle=True, validation_data=(x_test, x_test), verbose=0
)
back = autoencoder.predict(x_test, verbose=0)
explained = 1 - ((back - x_test) ** 2).mean() / ((x_test - x_train.mean(0)) ** 2).mean()
print("final loss", history.history["loss"][-1], "explained", explained)
