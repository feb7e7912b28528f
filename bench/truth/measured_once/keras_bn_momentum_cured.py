# verdict: healthy
# causes: normalisation
# source: keras#17204 style: validation accuracy at chance, BN momentum
# names: moving|momentum
import keras, numpy as np
from keras import layers
from sklearn.datasets import load_digits
keras.utils.set_random_seed(2)
x, y = load_digits(return_X_y=True)
x = x.reshape(-1, 8, 8, 1).astype("float32") * 20
p = np.random.permutation(len(x)); x, y = x[p], y[p]
inp = keras.Input((8, 8, 1))
h = inp
for f in (16, 32):
    h = layers.Conv2D(f, 3, padding="same")(h)
    h = layers.BatchNormalization(momentum=0.9)(h)
    h = layers.ReLU()(h)
h = layers.GlobalAveragePooling2D()(h)
out = layers.Dense(10, activation="softmax")(h)
m = keras.Model(inp, out)
m.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
h = m.fit(x[:1400], y[:1400], validation_data=(x[1400:], y[1400:]), epochs=3, batch_size=64, verbose=0)
print(h.history["accuracy"], h.history["val_accuracy"])
