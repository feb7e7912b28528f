# verdict: sick
# causes: precision loss_head
# source: keras-team/keras#11832 (EDSR in float16: loss inf), tensorflow#45568 (own loss under mixed_float16 is inf)
# names: float32|float16|overflow|cast|half
# figure: mse ([-\d.einfa]+)
import keras
import numpy as np
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(5)
keras.mixed_precision.set_global_policy("mixed_float16")
rng = np.random.default_rng(5)
clean = load_digits().data[:512].astype("float32") / 16 * 255
noisy = clean + rng.normal(size=clean.shape).astype("float32") * 60


class Denoiser(keras.Model):
    def __init__(self):
        super().__init__()
        self.scale = layers.Rescaling(1 / 127.5, offset=-1)
        self.d1 = layers.Dense(64, activation="relu")
        self.d2 = layers.Dense(64)
        self.back = layers.Rescaling(127.5, offset=127.5)
        self.tracker = keras.metrics.Mean(name="loss")

    def call(self, x, training=False):
        return self.back(self.d2(self.d1(self.scale(x))))

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            error = tf.square(y_pred - tf.cast(y, y_pred.dtype))
            loss = tf.sqrt(tf.reduce_mean(tf.reduce_sum(error, axis=-1) / 64))
            scaled = self.optimizer.scale_loss(tf.cast(loss, tf.float32))
        grads = tape.gradient(scaled, self.trainable_variables)
        self.optimizer.apply_gradients(zip(grads, self.trainable_variables))
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


model = Denoiser()
model.compile(optimizer=keras.optimizers.Adam(1e-2))
history = model.fit(noisy[:448], clean[:448], batch_size=16, epochs=6, verbose=0)
print("loss", history.history["loss"])
err = np.mean((np.array(model(noisy[448:])).astype("float32") - clean[448:]) ** 2)
print("mse", err, "of noise", np.mean((noisy - clean) ** 2))
