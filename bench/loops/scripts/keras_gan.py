"""Keras: a GAN, two models and two optimizers, by tf.GradientTape."""

# needs: keras tensorflow
# backend: tensorflow
# sick: "SGD(0.05)" -> "SGD(300.0)"

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
y = rng.integers(0, 4, 640)
x = (rng.normal(size=(4, 20))[y] + 0.5 * rng.normal(size=(640, 20))).astype("float32")

generator = keras.Sequential(
    [keras.Input((8,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(20)]
)
critic = keras.Sequential(
    [keras.Input((20,)), keras.layers.Dense(32, "leaky_relu"), keras.layers.Dense(1)]
)
loss_of = keras.losses.BinaryCrossentropy(from_logits=True)
first, second = keras.optimizers.Adam(1e-3), keras.optimizers.SGD(0.05)


@tf.function
def train_step(real):
    noise = tf.random.normal((32, 8))
    with tf.GradientTape() as one, tf.GradientTape() as other:
        made = generator(noise, training=True)
        yes, no = critic(real, training=True), critic(made, training=True)
        critical = loss_of(tf.ones_like(yes), yes) + loss_of(tf.zeros_like(no), no)
        fooling = loss_of(tf.ones_like(no), no)
    second.apply_gradients(
        zip(one.gradient(critical, critic.trainable_variables), critic.trainable_variables)
    )
    first.apply_gradients(
        zip(other.gradient(fooling, generator.trainable_variables), generator.trainable_variables)
    )
    return critical, fooling


for step in range(60):
    rows = slice(step % 20 * 32, step % 20 * 32 + 32)
    losses = train_step(tf.constant(x[rows]))
print("losses", *map(float, losses))
