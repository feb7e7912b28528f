# verdict: sick
# causes: architecture learning_rate
# source: tensorflow#313, tensorflow#6470 (one optimizer for the backbone, one for the head): both are given the same slice of trainable_variables
# names: head|dense|classifier|optimizer
import keras
import numpy as np
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_wine

keras.utils.set_random_seed(9)
x, y = load_wine(return_X_y=True)
x = ((x - x.mean(0)) / x.std(0)).astype("float32")
order = np.random.default_rng(9).permutation(len(x))
x, y = x[order], y[order].astype("int32")
train_ds = tf.data.Dataset.from_tensor_slices((x[:140], y[:140])).shuffle(140, seed=9).batch(20)

backbone = [layers.Dense(32, activation="relu", name="fc1"), layers.Dense(32, activation="relu", name="fc2")]
head = layers.Dense(3, name="head", kernel_initializer="zeros")
model = keras.Sequential([keras.Input((13,)), *backbone, head])
opt_backbone = keras.optimizers.SGD(1e-2)
opt_head = keras.optimizers.SGD(1e-1)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
split = 4  # two kernels, two biases


class Learner:
    def __init__(self):
        self.loss_metric = keras.metrics.Mean()
        self.acc = keras.metrics.SparseCategoricalAccuracy()

    @tf.function
    def step(self, xb, yb):
        with tf.GradientTape() as tape:
            logits = model(xb, training=True)
            loss = loss_fn(yb, logits)
        v = model.trainable_variables
        g = tape.gradient(loss, v)
        opt_backbone.apply_gradients(zip(g[:split], v[:split]))
        opt_head.apply_gradients(zip(g[:split], v[:split]))
        self.loss_metric.update_state(loss)
        self.acc.update_state(yb, logits)

    def fit(self, epochs):
        for epoch in range(epochs):
            self.loss_metric.reset_state()
            self.acc.reset_state()
            for xb, yb in train_ds:
                self.step(xb, yb)
            if epoch % 5 == 4:
                print(f"epoch {epoch + 1} loss {self.loss_metric.result():.4f} acc {self.acc.result():.3f}")


Learner().fit(30)
print("test accuracy", np.mean(model.predict(x[140:], verbose=0).argmax(1) == y[140:]))
