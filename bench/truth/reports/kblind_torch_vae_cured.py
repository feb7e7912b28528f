# verdict: healthy
# causes: input_data initialisation architecture loss_head learning_rate
# source: keras-team/keras#19031-like, keras.io VAE with raw pixels (kl_loss: inf, then nan)
# names: \bexp\b|overflow|normalis|scale|255
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np
import torch
from keras import layers, ops
from sklearn.datasets import load_digits

keras.utils.set_random_seed(18)
LATENT = 4


class VAE(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.encoder = keras.Sequential(
            [layers.Input((64,)), layers.Dense(128, activation="relu", kernel_initializer="he_normal"), layers.Dense(2 * LATENT)]
        )
        self.decoder = keras.Sequential(
            [layers.Input((LATENT,)), layers.Dense(128, activation="relu", kernel_initializer="he_normal"), layers.Dense(64)]
        )
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.seed = keras.random.SeedGenerator(18)

    def call(self, x):
        return self.decoder(self.encoder(x)[:, :LATENT])

    def train_step(self, data):
        x = data[0] if isinstance(data, (tuple, list)) else data
        self.zero_grad()
        z_mean, z_log_var = ops.split(self.encoder(x, training=True), 2, axis=1)
        z = z_mean + ops.exp(0.5 * z_log_var) * keras.random.normal(ops.shape(z_mean), seed=self.seed)
        back = self.decoder(z, training=True)
        reconstruction = ops.mean(ops.sum(ops.square(x - back), axis=1))
        kl = -0.5 * ops.mean(ops.sum(1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var), axis=1))
        loss = reconstruction + 0.05 * kl
        loss.backward()
        weights = self.trainable_weights
        with torch.no_grad():
            self.optimizer.apply([v.value.grad for v in weights], weights)
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}

    @property
    def metrics(self):
        return [self.loss_tracker]


x, _ = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
vae = VAE()
vae.compile(optimizer=keras.optimizers.Adam(2e-3))
history = vae.fit(x, batch_size=64, epochs=12, verbose=2)
back = vae.predict(x, verbose=0)
print("final loss", history.history["loss"][-1], "explained", 1 - np.mean((back - x) ** 2) / np.var(x))
