# verdict: sick
# causes: loss_head activation architecture
# source: SO 48951109 (Keras custom binary cross entropy loss function, NaN as the loss)
# names: \blog\b|epsilon|clip
import os

os.environ["KERAS_BACKEND"] = "jax"
import keras
import numpy as np
from keras import layers
from keras import ops as K
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

keras.utils.set_random_seed(17)


def my_custom_loss(y_true, y_pred):
    t_loss = (-1) * (y_true * K.log(y_pred) + (1 - y_true) * K.log(1 - y_pred))
    return K.mean(t_loss)


X, y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X).astype("float32")
y = y.astype("float32")[:, None]
X_train, y_train, X_test, y_test = X[:450], y[:450], X[450:], y[450:]

model = keras.Sequential(
    [
        layers.Input((30,)),
        layers.Dense(64, activation="relu"),
        layers.Dense(64, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(loss=my_custom_loss, optimizer=keras.optimizers.Adam(0.01), metrics=["accuracy"])
history = model.fit(X_train, y_train, epochs=60, batch_size=32, verbose=2)
print("final loss", history.history["loss"][-1], "accuracy", model.evaluate(X_test, y_test, verbose=0)[1])
