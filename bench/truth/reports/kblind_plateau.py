# verdict: sick
# causes: learning_rate
# source: keras-team/keras#3991-like, SO "ReduceLROnPlateau reduces the learning rate at every epoch" (mode/min_delta/patience)
# names: learning rate|ReduceLROnPlateau|patience|schedule|decay
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers
from sklearn.datasets import load_digits

tf.keras.utils.set_random_seed(8)
x, y = load_digits(return_X_y=True)
x = (x / 16.0).astype("float32").reshape(-1, 8, 8, 1)
x_train, y_train, x_val, y_val = x[:1300], y[:1300], x[1300:], y[1300:]

model = tf.keras.Sequential(
    [
        layers.Input((8, 8, 1)),
        layers.Conv2D(16, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(32, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer=tf.keras.optimizers.SGD(0.05, momentum=0.9), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
reduce_lr = tf.keras.callbacks.ReduceLROnPlateau(monitor="val_accuracy", mode="min", factor=0.1, patience=1, min_lr=1e-9)
history = model.fit(x_train, y_train, validation_data=(x_val, y_val), epochs=20, batch_size=128, callbacks=[reduce_lr], verbose=2)
print("final loss", history.history["loss"][-1], "accuracy", history.history["val_accuracy"][-1])
