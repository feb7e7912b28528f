# verdict: healthy
# causes: loss_head activation
# source: keras-team/keras#18886, keras-team/keras#590 (loss "poisson" is NaN from the first epoch)
# names: softplus|exponential|positiv|negativ|\blog\b
import keras
import numpy as np
import pandas as pd
from keras import layers

keras.utils.set_random_seed(11)
rng = np.random.default_rng(11)
n = 4000
claims = pd.DataFrame(
    {
        "age": rng.uniform(18, 80, n),
        "power": rng.integers(4, 12, n),
        "density": rng.lognormal(5, 1, n),
        "bonus": rng.uniform(50, 150, n),
    }
)
rate = np.exp(-0.5 + 0.02 * (claims.bonus - 100) + 0.25 * (np.log(claims.density) - 5) - 0.01 * (claims.age - 50))
claims["count"] = rng.poisson(rate)

X = claims[["age", "power", "density", "bonus"]]
X = ((X - X.mean()) / X.std()).to_numpy("float32")
y = claims["count"].to_numpy("float32")

inputs = keras.Input(shape=(4,))
hidden = layers.Dense(32, activation="tanh")(inputs)
hidden = layers.Dense(16, activation="tanh")(hidden)
frequency = layers.Dense(1, activation="exponential")(hidden)
model = keras.Model(inputs, frequency)
model.compile(optimizer="rmsprop", loss="poisson", metrics=["mean_absolute_error"])
history = model.fit(X, y, epochs=15, batch_size=64, validation_split=0.2, verbose=0)

predicted = model.predict(X[3200:], verbose=0)[:, 0]
print("final loss", history.history["loss"][-1], "correlation", np.corrcoef(predicted, rate[3200:])[0, 1])
