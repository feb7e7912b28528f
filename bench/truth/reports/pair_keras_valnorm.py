# verdict: sick
# causes: normalisation learning_rate architecture
# source: keras#6977, keras#9214 (accuracy high in training, near chance in validation: BatchNormalization(momentum=0.999) in a short run)
# names: momentum|moving|BatchNorm
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tensorflow import keras
from tensorflow.keras import layers

keras.utils.set_random_seed(8)
x, y = load_digits(return_X_y=True)
x = x.reshape(-1, 8, 8, 1).astype("float32") / 16.0
x_train, x_val, y_train, y_val = train_test_split(x, y, test_size=0.25, random_state=2)


def block(h, filters):
    h = layers.Conv2D(filters, 3, padding="same", use_bias=False)(h)
    h = layers.BatchNormalization(momentum=0.9995)(h)
    return layers.Activation("relu")(h)


inputs = keras.Input((8, 8, 1))
h = block(inputs, 16)
h = block(h, 32)
h = layers.MaxPooling2D()(h)
h = block(h, 64)
h = layers.GlobalAveragePooling2D()(h)
model = keras.Model(inputs, layers.Dense(10, activation="softmax")(h))
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x_train, y_train, batch_size=64, epochs=6, validation_data=(x_val, y_val), verbose=0)
print([round(v, 3) for v in history.history["accuracy"]])
print([round(v, 3) for v in history.history["val_accuracy"]])
