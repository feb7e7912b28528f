# verdict: sick
# causes: activation architecture
# source: titu1994/Inception-v4#5, bonlime/keras-deeplab-v3-plus#4, keras-team/keras#1715 (the paper keeps 80%, Keras' Dropout takes what is dropped)
# names: drop
import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

keras.utils.set_random_seed(11)
x, y = load_digits(return_X_y=True)
x = (x / 16.0).astype("float32").reshape(-1, 8, 8, 1)
x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, random_state=0)
KEEP = 0.8

model = keras.Sequential([
    keras.Input((8, 8, 1)),
    layers.Conv2D(16, 3, padding="same", activation="relu"),
    layers.Dropout(0.9),
    layers.Conv2D(32, 3, padding="same", activation="relu"),
    layers.MaxPooling2D(),
    layers.Dropout(0.9),
    layers.Flatten(),
    layers.Dense(64, activation="relu"),
    layers.Dropout(KEEP),
    layers.Dense(32, activation="relu"),
    layers.Dropout(KEEP),
    layers.Dense(10, activation="softmax"),
])
model.compile(optimizer=keras.optimizers.RMSprop(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, batch_size=32, epochs=12, validation_data=(x_test, y_test), verbose=2)
print("test", model.evaluate(x_test, y_test, verbose=0))
