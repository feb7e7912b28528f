# verdict: sick
# causes: architecture
# source: keras transfer learning guide; keras#4674, SO "accuracy does not change after freezing layers" (the loop freezes the new head, too)
# names: trainable|frozen|freez
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np
from sklearn.datasets import load_digits

keras.utils.set_random_seed(11)
x, y = load_digits(return_X_y=True)
x = (x / 16.0).reshape(-1, 8, 8, 1).astype("float32")
small, large = y < 5, y >= 5

base = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(16, 3, activation="relu"),
        keras.layers.Conv2D(32, 3, activation="relu"),
        keras.layers.Flatten(),
    ]
)
pretrained = keras.Sequential([base, keras.layers.Dense(5, activation="softmax")])
pretrained.compile("adam", "sparse_categorical_crossentropy")
pretrained.fit(x[small], y[small], epochs=5, verbose=0)

head = keras.layers.Dense(5, activation="softmax")
model = keras.Sequential([base, keras.layers.Dropout(0.2), head])
for layer in model.layers:
    layer.trainable = False
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
for epoch in range(8):
    log = model.fit(x[large], y[large] - 5, epochs=1, batch_size=32, verbose=0)
    print(epoch, log.history)
