# verdict: healthy
# causes: loss_head activation architecture
# source: SO "Keras custom loss negative log likelihood of a Gaussian returns nan" (the second output, the standard deviation, from a relu)
# names: softplus|\blog\b|epsilon|divi|positive|\b0\b
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

tf.keras.utils.set_random_seed(41)
X, y = load_diabetes(return_X_y=True)
X = StandardScaler().fit_transform(X).astype("float32")
y = ((y - y.mean()) / y.std()).astype("float32")
X_train, y_train, X_test, y_test = X[:350], y[:350], X[350:], y[350:]


def gaussian_nll(ytrue, ypreds):
    """Keras implementation of the multivariate Gaussian negative loglikelihood loss function."""
    mu = ypreds[:, 0:1]
    sigma = ypreds[:, 1:2]
    mse = -0.5 * tf.reduce_sum(tf.square((ytrue - mu) / sigma), axis=1)
    sigma_trace = -tf.reduce_sum(tf.math.log(sigma), axis=1)
    log2pi = -0.5 * np.log(2 * np.pi)
    return tf.reduce_mean(-(mse + sigma_trace + log2pi))


inputs = layers.Input((10,))
h = layers.Dense(32, activation="relu")(inputs)
h = layers.Dense(32, activation="relu")(h)
mu = layers.Dense(1)(h)
sigma = layers.Dense(1, activation=lambda t: tf.math.softplus(t) + 1e-2)(h)
model = tf.keras.Model(inputs, layers.Concatenate()([mu, sigma]))
model.compile(tf.keras.optimizers.Adam(2e-3), loss=gaussian_nll)
history = model.fit(X_train, y_train[:, None], epochs=25, batch_size=32, verbose=2)
p = model.predict(X_test, verbose=0)[:, 0]
print("final loss", history.history["loss"][-1], "R2", 1 - np.mean((p - y_test) ** 2) / np.var(y_test))
