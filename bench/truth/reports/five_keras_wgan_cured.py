# verdict: healthy
# causes: bad_batch loss_head architecture input_data initialisation
# source: keras-team/keras-io#910, tdeboissiere/DeepLearningImplementations#68 (WGAN-GP: sqrt of a gradient's square sum that is zero, everything NaN)
# names: sqrt|epsilon|eps\b|1e-|norm
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
import numpy as np
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits

keras.utils.set_random_seed(5)
images = (load_digits().data / 16.0).astype("float32")
NOISE = 16


class WGAN(keras.Model):
    def __init__(self, discriminator, generator, gp_weight=10.0):
        super().__init__()
        self.discriminator, self.generator, self.gp_weight = discriminator, generator, gp_weight

    def compile(self, d_optimizer, g_optimizer):
        super().compile()
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer

    def gradient_penalty(self, real, fake):
        alpha = tf.random.uniform([tf.shape(real)[0], 1])
        interpolated = real + alpha * (fake - real)
        with tf.GradientTape() as gp_tape:
            gp_tape.watch(interpolated)
            pred = self.discriminator(interpolated, training=True)
        grads = gp_tape.gradient(pred, [interpolated])[0]
        norm = tf.sqrt(tf.reduce_sum(tf.square(grads), axis=[1]) + 1e-12)
        return tf.reduce_mean((norm - 1.0) ** 2)

    def train_step(self, real):
        size = tf.shape(real)[0]
        with tf.GradientTape() as tape:
            fake = self.generator(tf.random.normal((size, NOISE)), training=True)
            d_cost = tf.reduce_mean(self.discriminator(fake, training=True)) - tf.reduce_mean(self.discriminator(real, training=True))
            d_loss = d_cost + self.gp_weight * self.gradient_penalty(real, fake)
        grads = tape.gradient(d_loss, self.discriminator.trainable_variables)
        self.d_optimizer.apply_gradients(zip(grads, self.discriminator.trainable_variables))
        with tf.GradientTape() as tape:
            fake = self.generator(tf.random.normal((size, NOISE)), training=True)
            g_loss = -tf.reduce_mean(self.discriminator(fake, training=True))
        grads = tape.gradient(g_loss, self.generator.trainable_variables)
        self.g_optimizer.apply_gradients(zip(grads, self.generator.trainable_variables))
        return {"d_loss": d_loss, "g_loss": g_loss}


discriminator = keras.Sequential([keras.Input((64,)), layers.Dense(6, activation="relu"), layers.Dense(1)])
generator = keras.Sequential([keras.Input((NOISE,)), layers.Dense(64, activation="relu"), layers.Dense(64, activation="sigmoid")])
wgan = WGAN(discriminator, generator)
wgan.compile(keras.optimizers.Adam(1e-3, beta_1=0.5), keras.optimizers.Adam(1e-3, beta_1=0.5))
wgan.fit(images, batch_size=64, epochs=15, verbose=2)
made = generator.predict(np.random.normal(size=(500, NOISE)), verbose=0)
print("distance of the means", float(np.abs(made.mean(0) - images.mean(0)).mean()))
