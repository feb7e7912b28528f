# verdict: healthy
# causes: loss_head bad_batch architecture
# source: tensorflow#42889, tensorflow#12071 (the gradient of tf.norm at zero is nan)
# names: norm|sqrt|epsilon
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_iris

tf.keras.utils.set_random_seed(2)
x, y = load_iris(return_X_y=True)
x = ((x - x.mean(0)) / x.std(0)).astype("float32")
pairs_a = np.random.randint(0, 150, 1200)
pairs_b = np.random.randint(0, 150, 1200)
pairs_b[::10] = pairs_a[::10]
same = (y[pairs_a] == y[pairs_b]).astype("float32")

encoder = tf.keras.Sequential(
    [tf.keras.Input((4,)), tf.keras.layers.Dense(32, activation="relu"), tf.keras.layers.Dense(2)]
)
optimizer = tf.keras.optimizers.Adam(1e-3)


@tf.function
def train_step(a, b, label):
    with tf.GradientTape() as tape:
        difference = encoder(a, training=True) - encoder(b, training=True)
        distance = tf.sqrt(tf.reduce_sum(difference**2, axis=1) + 1e-9)
        loss = tf.reduce_mean(label * distance + (1 - label) * tf.maximum(0.0, 1.0 - distance) ** 2)
    gradients = tape.gradient(loss, encoder.trainable_variables)
    optimizer.apply_gradients(zip(gradients, encoder.trainable_variables))
    return loss


for epoch in range(12):
    losses = []
    for i in range(0, 1200, 60):
        rows = slice(i, i + 60)
        losses.append(float(train_step(x[pairs_a[rows]], x[pairs_b[rows]], same[rows])))
    print(epoch, np.mean(losses))
