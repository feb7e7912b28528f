# verdict: healthy
# causes: input_data loss_head activation
# source: SO "Keras autoencoder loss does not decrease, outputs all white" (blog.keras.io autoencoder without the division by 255)
# names: 255|0 to 1|between 0 and 1|scale|normali|sigmoid
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np
from keras import layers
from keras.models import Model
from sklearn.datasets import load_digits

keras.utils.set_random_seed(6)
images, _ = load_digits(return_X_y=True)
images = np.round(images * 255 / 16).astype("uint8")  # as an image file has them
x_train, x_test = images[:1500], images[1500:]
x_train = x_train.astype("float32") / 255.0
x_test = x_test.astype("float32") / 255.0

encoding_dim = 32
input_img = keras.Input(shape=(64,))
encoded = layers.Dense(encoding_dim, activation="relu")(input_img)
decoded = layers.Dense(64, activation="sigmoid")(encoded)
autoencoder = Model(input_img, decoded)
autoencoder.compile(optimizer="adam", loss="mean_squared_error")
history = autoencoder.fit(x_train, x_train, epochs=30, batch_size=32, shuffle=True, validation_data=(x_test, x_test), verbose=2)
back = autoencoder.predict(x_test, verbose=0)
print("final loss", history.history["loss"][-1], "explained", 1 - np.mean((back - x_test) ** 2) / np.var(x_test))
