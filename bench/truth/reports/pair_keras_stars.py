# verdict: sick
# causes: input_data loss_head bad_batch
# source: keras#11786 (labels 1 to 7 under a Dense(7), the loss is nan), keras#2450
# names: label|class
import os

os.environ["KERAS_BACKEND"] = "jax"
import keras
import numpy as np

rng = np.random.default_rng(7)
keras.utils.set_random_seed(7)
reviews = rng.normal(size=(1500, 20)).astype("float32")
score = reviews[:, :3].sum(1)
stars = np.digitize(score, np.quantile(score, [0.2, 0.4, 0.6, 0.8])) + 1  # five of them

model = keras.Sequential()
model.add(keras.Input((20,)))
model.add(keras.layers.Dense(64, activation="relu"))
model.add(keras.layers.Dropout(0.1))
model.add(keras.layers.Dense(64, activation="relu"))
model.add(keras.layers.Dense(5, activation="softmax"))
model.compile(loss=keras.losses.sparse_categorical_crossentropy, optimizer="adam", metrics=["accuracy"])
history = model.fit(reviews[:1200], stars[:1200], epochs=8, batch_size=32, validation_data=(reviews[1200:], stars[1200:]), verbose=0)
print(history.history["loss"], history.history["val_accuracy"])
