# verdict: sick
# causes: loss_head activation
# source: keras-team/keras#14490 (LSTM, Dense(1) without an activation, BinaryCrossentropy: the loss is of no use)
# names: from_logits|sigmoid|logit
import numpy as np
import pandas as pd
import tensorflow as tf
from tensorflow.keras.layers import LSTM, Dense, Input
from tensorflow.keras.models import Sequential

tf.keras.utils.set_random_seed(33)
rng = np.random.default_rng(33)
n, steps, columns = 900, 10, 6
level = rng.normal(0, 1, (n, 1, columns)) + rng.normal(0, 1, (n, steps, columns)).cumsum(1) * 0.3
data_train = pd.DataFrame(level.reshape(n * steps, columns))
data_train["label"] = np.repeat((level[:, -1, :3].sum(1) > level[:, 0, 3:].sum(1)).astype(int), steps)

x = np.array(data_train.iloc[:, :-1]).reshape(-1, steps, columns)
y = np.array(data_train.iloc[:, -1:]).reshape(-1, steps)[:, -1:]
x_train, y_train, x_test, y_test = x[:700], y[:700], x[700:], y[700:]

model = Sequential()
model.add(Input((steps, columns)))
model.add(LSTM(10, return_sequences=True))
model.add(LSTM(10))
model.add(Dense(1))
model.compile(loss=tf.keras.losses.BinaryCrossentropy(), optimizer="adam", metrics=["accuracy"])
h = model.fit(x_train, y_train, validation_data=(x_test, y_test), epochs=12, batch_size=16, verbose=0)
print("loss", h.history["loss"][0], h.history["loss"][-1], "val accuracy", h.history["val_accuracy"][-1])
