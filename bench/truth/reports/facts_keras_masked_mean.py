# verdict: sick
# causes: loss_head architecture bad_batch input_data
# source: keras-team/keras#7517, keras-team/keras#11643 (division by the sum of a mask that is empty in some batch)
# names: divis|mask|epsilon
import keras
import numpy as np
from keras import layers, ops
from sklearn.datasets import load_diabetes

keras.utils.set_random_seed(9)
x, y = load_diabetes(return_X_y=True)
x = (x / x.std(0)).astype("float32")
y = ((y - y.mean()) / y.std()).astype("float32")[:, None]
order = np.argsort(x[:, 0], kind="stable")  # patients by age; the oldest were not measured
x, y = x[order], y[order]
y[400:] = -99.0  # missing


def masked_mse(y_true, y_pred):
    mask = ops.cast(y_true > -90.0, "float32")
    return ops.sum(mask * ops.square(y_true - y_pred)) / ops.sum(mask)


model = keras.Sequential([keras.Input((10,)), layers.Dense(32, activation="relu"), layers.Dense(1)])
model.compile(keras.optimizers.Adam(3e-3), loss=masked_mse)
history = model.fit(x, y, batch_size=16, epochs=10, shuffle=False, verbose=2)
p = model.predict(x[:400], verbose=0)
print("final loss", history.history["loss"][-1], "r2", 1 - np.mean((p - y[:400]) ** 2) / np.var(y[:400]))
