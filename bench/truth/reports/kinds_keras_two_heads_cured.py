# verdict: healthy
# causes: loss_head input_data
# source: keras#10306 (a head for a price and one for a class, no loss_weights), torch backend
# names: loss_weights|(target|label)s?.*(scale|standardi|normali|divide)|(scale|standardi|normali|divide).*(target|label)
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(6)
rng = np.random.default_rng(6)
n = 3000
features = rng.normal(size=(n, 12)).astype("float32")
kind = (features[:, :4] + 0.3 * rng.normal(size=(n, 4))).argmax(1)
salary = (55000 + 9000 * features[:, 4] + 4000 * features[:, 5] * features[:, 6]).astype("float32")

inputs = keras.Input(shape=(12,), name="features")
x = layers.Dense(64, activation="relu")(inputs)
x = layers.Dense(64, activation="relu")(x)
profession = layers.Dense(4, activation="softmax", name="profession")(x)
income = layers.Dense(1, name="income")(x)
model = keras.Model(inputs, [profession, income])
model.compile(
    optimizer=keras.optimizers.RMSprop(1e-3),
    loss={"profession": "sparse_categorical_crossentropy", "income": "mse"},
    metrics={"profession": "accuracy"},
)
history = model.fit(features, {"profession": kind, "income": (salary - salary.mean()) / salary.std()}, batch_size=32, epochs=6, validation_split=0.2, verbose=2)
print("profession accuracy", history.history["val_profession_accuracy"][-1])
