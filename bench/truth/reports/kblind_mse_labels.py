# verdict: sick
# causes: loss_head input_data
# source: SO "Keras softmax with mse: the loss does not decrease" (integer labels against ten probabilities)
# names: one.?hot|categorical|shape|broadcast|outside
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

tf.keras.utils.set_random_seed(22)
data = load_digits()
X_train, X_test, y_train, y_test = train_test_split(data.data / 16.0, data.target, test_size=0.2, random_state=0)

inputs = tf.keras.Input(shape=(64,))
x = tf.keras.layers.Dense(64, activation="relu")(inputs)
x = tf.keras.layers.Dense(32, activation="relu")(x)
outputs = tf.keras.layers.Dense(10, activation="softmax")(x)
model = tf.keras.Model(inputs, outputs)
model.compile(optimizer="adam", loss="mean_squared_error")
history = model.fit(X_train, y_train.reshape(-1, 1), batch_size=32, epochs=12, verbose=2)
print("final loss", history.history["loss"][-1], "accuracy", np.mean(model.predict(X_test, verbose=0).argmax(1) == y_test))
