# verdict: healthy
# causes: activation architecture initialisation
# source: SO 55322991 (NaN after adding relu activation in LSTM), datascience.SE "LSTM with relu: loss nan"
# names: tanh|relu|clip
import numpy as np
import tensorflow as tf
from tensorflow.keras.layers import LSTM, Dense, Input
from tensorflow.keras.models import Sequential

tf.keras.utils.set_random_seed(9)

t = np.arange(4000) * 0.1
series = np.sin(t) + 0.5 * np.sin(0.31 * t) + 0.05 * np.random.normal(size=len(t))
series = (series - series.mean()) / series.std()
look_back = 100
X = np.stack([series[i : i + look_back] for i in range(len(series) - look_back)])[..., None].astype("float32")
Y = series[look_back:, None].astype("float32")
train, test = slice(0, 1000), slice(3000, 3600)

model = Sequential()
model.add(Input((look_back, 1)))
model.add(LSTM(64, activation="tanh", return_sequences=True))
model.add(LSTM(64, activation="tanh"))
model.add(Dense(1))
model.compile(optimizer=tf.keras.optimizers.Adam(0.01), loss="mse")
history = model.fit(X[train], Y[train], epochs=5, batch_size=64, verbose=2)
p = model.predict(X[test], verbose=0)
print("final loss", history.history["loss"][-1], "R2", 1 - np.mean((p - Y[test]) ** 2) / np.var(Y[test]))
