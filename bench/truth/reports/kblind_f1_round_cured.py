# verdict: healthy
# causes: loss_head activation architecture
# source: SO "F1 score as a custom loss in Keras: loss does not change" (K.round has no gradient), keras#6640
# names: round|differentiab|gradient is (zero|0)|threshold|step function
import os

os.environ["KERAS_BACKEND"] = "jax"
import keras
import numpy as np
from keras import layers, ops
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

keras.utils.set_random_seed(1)


def f1_loss(y_true, y_pred):
    y_true = ops.cast(y_true, "float32")
    tp = ops.sum(y_true * y_pred)
    fp = ops.sum((1 - y_true) * y_pred)
    fn = ops.sum(y_true * (1 - y_pred))
    p = tp / (tp + fp + 1e-7)
    r = tp / (tp + fn + 1e-7)
    f1 = 2 * p * r / (p + r + 1e-7)
    return 1 - f1


X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=1, stratify=y)
scaler = StandardScaler()
X_train = scaler.fit_transform(X_train)
X_test = scaler.transform(X_test)

model = keras.Sequential()
model.add(layers.Input((30,)))
model.add(layers.Dense(32, activation="relu"))
model.add(layers.Dense(16, activation="relu"))
model.add(layers.Dense(1, activation="sigmoid"))
model.compile(optimizer="adam", loss=f1_loss, metrics=["accuracy"])
history = model.fit(X_train, y_train.reshape(-1, 1), epochs=30, batch_size=32, verbose=2)
print("final loss", history.history["loss"][-1], "accuracy", model.evaluate(X_test, y_test.reshape(-1, 1), verbose=0)[1])
