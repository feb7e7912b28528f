# verdict: healthy
# causes: input_data bad_batch
# source: SO "NaN loss when training regression network" (a column that never changes, divided by its standard deviation)
# names: std|standard deviation|constant|inputs?.*nan|nan.*(input|data|batch)|not finite.*(input|batch|data)
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(21)


def normalize(data, mean=None, std=None):
    mean = data.mean(axis=0) if mean is None else mean
    std = data.std(axis=0) if std is None else std
    return (data - mean) / (std + 1e-2), mean, std


x, y = load_digits(return_X_y=True)
x = x.astype("float32")
(x_train, y_train), (x_test, y_test) = (x[:1400], y[:1400]), (x[1400:], y[1400:])
x_train, mean, std = normalize(x_train)
x_test, _, _ = normalize(x_test, mean, std)

model = keras.Sequential(
    [
        keras.Input((64,)),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(64, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="rmsprop", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x_train, y_train, batch_size=64, epochs=8, validation_split=0.1, verbose=2)
print("final loss", history.history["loss"][-1], "accuracy", model.evaluate(x_test, y_test, verbose=0)[1])
