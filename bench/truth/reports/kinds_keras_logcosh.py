# verdict: sick
# causes: loss_head input_data
# source: keras#8524 (log-cosh as it is written: exp overflows for wild errors), JAX
# names: \bexp\b|\bcosh\b|overflow|softplus
import os

os.environ["KERAS_BACKEND"] = "jax"
import keras
import numpy as np
from keras import ops
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

keras.utils.set_random_seed(8)
X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y.astype("float32"), test_size=0.2, random_state=8)
scaler = StandardScaler().fit(X_train)
X_train, X_test = scaler.transform(X_train).astype("float32"), scaler.transform(X_test).astype("float32")


def logcosh(y_true, y_pred):
    def cosh(x):
        return (ops.exp(x) + ops.exp(-x)) / 2

    return ops.mean(ops.log(cosh(y_pred - y_true)), axis=-1)


inputs = keras.Input((10,))
h = keras.layers.Dense(64, activation="relu")(inputs)
h = keras.layers.Dense(32, activation="relu")(h)
model = keras.Model(inputs, keras.layers.Dense(1)(h))
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=logcosh, metrics=["mae"])
model.fit(X_train, y_train, batch_size=32, epochs=30, validation_data=(X_test, y_test), verbose=0)
print("mae on test", model.evaluate(X_test, y_test, verbose=0)[1], "of a constant", float(np.abs(y_test - np.median(y_train)).mean()))
