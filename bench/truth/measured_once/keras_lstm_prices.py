# verdict: sick
# causes: input_data learning_rate
# source: SO: LSTM predicts a constant on raw prices
# names: normalis|scale|input
import numpy as np
import keras
from keras.layers import LSTM, Dense, Input

keras.utils.set_random_seed(7)
rng = np.random.default_rng(7)
price = 4000 + np.cumsum(rng.normal(0, 12, 900)) + 300 * np.sin(np.arange(900) / 25)
X = np.array([price[i : i + 30] for i in range(860)])[..., None]
Y = price[30:890]
model = keras.Sequential([Input((30, 1)), LSTM(32), Dense(1)])
model.compile(optimizer="adam", loss="mse")
h = model.fit(X[:700], Y[:700], epochs=15, batch_size=32, verbose=0)
print(h.history["loss"][0], h.history["loss"][-1], "share", h.history["loss"][-1] / np.var(Y[:700]))
