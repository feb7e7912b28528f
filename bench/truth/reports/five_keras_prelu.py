# verdict: sick
# causes: input_data learning_rate initialisation activation
# source: keras-team/keras#4171 (binary classification of a table, PReLU and sigmoid: loss stays at 7)
# names: normalis|standardis|scale|StandardScaler
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras as k
import keras.layers as l
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

k.utils.set_random_seed(7)
X, y = load_breast_cancer(return_X_y=True)
X = X.astype("float32") * 1000  # in micrometres
X_train, X_valid, y_train, y_valid = train_test_split(X, y, test_size=0.2, random_state=1)


def keras_model(dim):
    m = k.models.Sequential()
    m.add(l.Input((dim,)))
    m.add(l.Dense(128))
    m.add(l.PReLU())
    m.add(l.Dense(64))
    m.add(l.PReLU())
    m.add(l.Dense(1))
    m.add(l.Activation("sigmoid"))
    m.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
    return m


model = keras_model(X.shape[1])
history = model.fit(X_train, y_train, batch_size=32, epochs=15, validation_data=(X_valid, y_valid), verbose=2)
print("valid", model.evaluate(X_valid, y_valid, verbose=0))
