# verdict: sick
# causes: loss_head
# source: tensorflow#28901 (a loop of GradientTape: y of shape (16,), predictions of shape (16, 1))
# names: shape|squeeze|expand
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_diabetes
from tensorflow import keras

keras.utils.set_random_seed(7)
x, y = load_diabetes(return_X_y=True)
x = (x / x.std(0)).astype("float32")
y = ((y - y.mean()) / y.std()).astype("float32")
data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(442, seed=7).batch(32)

model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(1)])
optimizer = keras.optimizers.Adam(3e-3)


@tf.function
def train_step(features, target):
    with tf.GradientTape() as tape:
        prediction = model(features, training=True)
        loss = tf.reduce_mean(tf.square(target - prediction))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss


for epoch in range(20):
    losses = [float(train_step(*batch)) for batch in data]
p = model.predict(x, verbose=0).ravel()
print("final loss", np.mean(losses), "r2", 1 - np.mean((p - y) ** 2) / np.var(y))
