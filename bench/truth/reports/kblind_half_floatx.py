# verdict: sick
# causes: precision
# source: keras-team/keras#11832 (training in float16 goes well for a few batches, then inf and nan)
# names: epsilon|float16|float32|precision|half
import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

keras.backend.set_floatx("float16")
keras.utils.set_random_seed(2)

x, _ = load_digits(return_X_y=True)
large = (x.reshape(-1, 8, 8, 1) / 16).astype("float16")
small = large.reshape(-1, 4, 2, 4, 2, 1).mean((2, 4)).astype("float16")


def edsr(blocks=4, filters=16):
    image = keras.Input((4, 4, 1))
    first = h = layers.Conv2D(filters, 3, padding="same")(image)
    for _ in range(blocks):
        b = layers.Conv2D(filters, 3, padding="same", activation="relu")(h)
        b = layers.Conv2D(filters, 3, padding="same")(b)
        b = layers.Rescaling(0.1)(b)
        h = layers.Add()([h, b])
    h = layers.Add()([h, first])
    h = layers.Conv2DTranspose(filters, 4, strides=2, padding="same")(h)
    return keras.Model(image, layers.Conv2D(1, 3, padding="same")(h))


model = edsr()
model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="mse")
history = model.fit(small[:1500], large[:1500], batch_size=32, epochs=4, verbose=2)
p = model.predict(small[1500:], verbose=0).astype("float32")
print("final loss", history.history["loss"][-1], "explained", 1 - np.mean((p - large[1500:]) ** 2) / np.var(large[1500:].astype("float32")))
