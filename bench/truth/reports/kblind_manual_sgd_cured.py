# verdict: healthy
# causes: learning_rate input_data
# source: tensorflow.org guide "Basic training loops" on raw data, SO "TensorFlow custom training loop: weights become nan"
# names: learning rate|rate|normalis|scale
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_diabetes

tf.keras.utils.set_random_seed(31)
x, y = load_diabetes(return_X_y=True, scaled=False)
x = ((x - x.mean(0)) / x.std(0)).astype("float32")
y = ((y - y.mean()) / y.std()).astype("float32")
y_train, y_test = y[:350, None], y[350:, None]
x_train, x_test = x[:350], x[350:]


class MyModel(tf.keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = tf.keras.layers.Dense(16, activation="relu")
        self.out = tf.keras.layers.Dense(1)

    def call(self, x):
        return self.out(self.dense(x))


def loss(target_y, predicted_y):
    return tf.reduce_mean(tf.square(target_y - predicted_y))


def train(model, x, y, learning_rate):
    with tf.GradientTape() as t:
        current_loss = loss(y, model(x))
    variables = model.trainable_variables
    for v, dv in zip(variables, t.gradient(current_loss, variables)):
        v.assign_sub(learning_rate * dv)
    return current_loss


model = MyModel()
for epoch in range(60):
    order = np.random.permutation(350)
    for i in range(0, 350, 50):
        pick = order[i : i + 50]
        current_loss = train(model, x_train[pick], y_train[pick], learning_rate=0.02)
    if epoch % 20 == 19:
        print("epoch", epoch + 1, "loss", float(current_loss))
p = model(x_test).numpy()
print("R2", 1 - np.mean((p - y_test) ** 2) / np.var(y_test))
