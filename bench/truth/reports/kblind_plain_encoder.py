# verdict: sick
# causes: architecture
# source: SO "layers inside a plain Python class are not in trainable_variables" (subclassed tf.keras model), tensorflow#33205
# names: track|hold|held|not moved|nothing moves|no optimizer|trainable|attribute|subclass
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

tf.keras.utils.set_random_seed(27)
X, Y = load_digits(return_X_y=True)
X = (X / 8 - 1).astype("float32")


class Encoder:
    """Pixels to a code of four numbers."""

    def __init__(self):
        self.hidden = tf.keras.layers.Dense(64, activation="relu")
        self.code = tf.keras.layers.Dense(4, activation="tanh")

    def __call__(self, x):
        return self.code(self.hidden(x))


class Net(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.scores = tf.keras.layers.Dense(10)

    def call(self, x):
        return self.scores(self.encoder(x))


net = Net()
optimizer = tf.keras.optimizers.Adam(0.01)
criterion = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
dataset = tf.data.Dataset.from_tensor_slices((X[:1400], Y[:1400])).shuffle(1400).batch(32)


@tf.function
def train_step(x, y):
    with tf.GradientTape() as tape:
        loss = criterion(y, net(x))
    grads = tape.gradient(loss, net.trainable_variables)
    optimizer.apply_gradients(zip(grads, net.trainable_variables))
    return loss


net(X[:1])
for epoch in range(20):
    losses = [float(train_step(x, y)) for x, y in dataset]
    if epoch % 5 == 4:
        print("epoch", epoch + 1, "loss", np.mean(losses))
print("accuracy", np.mean(np.argmax(net(X[1400:]), 1) == Y[1400:]))
