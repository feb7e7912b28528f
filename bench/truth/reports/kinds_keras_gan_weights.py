# verdict: sick
# causes: architecture learning_rate loss_head
# source: eriklindernoren/Keras-GAN#232, keras-io DCGAN with the generator's step on the discriminator's weights
# names: generator.*(never|not|no|none|unchanged|trainable)|trainable_(weights|variables)
# figure: mean of fakes \[\s*(-?[\d.]+)(?#score)
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import keras
import numpy as np
import tensorflow as tf
from keras import layers

keras.utils.set_random_seed(3)
rng = np.random.default_rng(3)
latent_dim = 8
points = rng.normal(size=(4000, 2)) * [0.2, 0.5] + [2.0, -1.0]
dataset = tf.data.Dataset.from_tensor_slices(points.astype("float32")).shuffle(4000, seed=3).batch(64, drop_remainder=True)

discriminator = keras.Sequential(
    [keras.Input((2,)), layers.Dense(64), layers.LeakyReLU(negative_slope=0.2), layers.Dense(64), layers.LeakyReLU(negative_slope=0.2), layers.Dense(1)],
    name="discriminator",
)
generator = keras.Sequential(
    [keras.Input((latent_dim,)), layers.Dense(64, activation="relu"), layers.Dense(64, activation="relu"), layers.Dense(2)],
    name="generator",
)
d_optimizer = keras.optimizers.Adam(1e-3, beta_1=0.5)
g_optimizer = keras.optimizers.Adam(1e-3, beta_1=0.5)
loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)


@tf.function
def train_step(real):
    batch_size = tf.shape(real)[0]
    fake = generator(tf.random.normal((batch_size, latent_dim)))
    combined = tf.concat([fake, real], axis=0)
    labels = tf.concat([tf.zeros((batch_size, 1)), tf.ones((batch_size, 1))], axis=0)
    with tf.GradientTape() as tape:
        d_loss = loss_fn(labels, discriminator(combined))
    grads = tape.gradient(d_loss, discriminator.trainable_weights)
    d_optimizer.apply_gradients(zip(grads, discriminator.trainable_weights))

    misleading_labels = tf.ones((batch_size, 1))
    with tf.GradientTape() as tape:
        predictions = discriminator(generator(tf.random.normal((batch_size, latent_dim))))
        g_loss = loss_fn(misleading_labels, predictions)
    grads = tape.gradient(g_loss, discriminator.trainable_weights)
    g_optimizer.apply_gradients(zip(grads, discriminator.trainable_weights))
    return d_loss, g_loss


for epoch in range(10):
    for real in dataset:
        d_loss, g_loss = train_step(real)
    made = generator(tf.random.normal((500, latent_dim))).numpy()
    print(f"epoch {epoch} d_loss {d_loss:.3f} g_loss {g_loss:.3f} mean of fakes {made.mean(0)}")
