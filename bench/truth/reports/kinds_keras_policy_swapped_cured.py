# verdict: healthy
# causes: loss_head input_data
# source: keras#5733 (custom loss with its arguments the wrong way round: the log of the targets)
# names: \blog\b.*(y_true|target|zero)|y_true, y_pred|(target|label)s?.*\blog\b|\blog\b
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(1)

# one state = 6 numbers, the better of two actions is known from the simulator
rng = np.random.default_rng(1)
states = rng.normal(size=(2000, 6)).astype("float32")
best = (states[:, 0] + states[:, 1] * states[:, 2] > 0).astype(int)
baseline = np.zeros((2000, 2), "float32")
baseline[np.arange(2000), best] = 1.2 + 0.2 * rng.random(2000)


def policyLoss(y_true, y_pred):
    loss = tf.reduce_sum(tf.math.log(y_pred) * y_true, axis=-1)
    return -loss


actor = keras.Sequential(
    [
        keras.Input((6,)),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(2, activation="softmax"),
    ]
)
actor.compile(loss=policyLoss, optimizer=keras.optimizers.Adam(0.003))
for epoch in range(6):
    order = rng.permutation(2000)
    losses = []
    for i in range(0, 2000, 50):
        rows = order[i : i + 50]
        losses.append(actor.train_on_batch(states[rows], baseline[rows]))
    print("epoch", epoch, "loss", float(losses[-1]))
chosen = actor.predict(states, verbose=0).argmax(1)
print("share of best actions", np.mean(chosen == best))
