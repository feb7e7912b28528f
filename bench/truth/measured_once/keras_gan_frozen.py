# verdict: sick
# causes: architecture
# source: keras-io GAN, the discriminator's variables are given to both
# names: trainable|optimizer|no gradient|gradient
# figure: (?m)(?#score)^\[\s*(-?[\d.]+)
import numpy as np
import tensorflow as tf
import keras
from keras import layers

keras.utils.set_random_seed(5)
real = (np.random.normal(size=(1024, 2)) * [0.5, 0.2] + [1.0, -1.0]).astype("float32")
gen = keras.Sequential([keras.Input((4,)), layers.Dense(32, activation="relu"), layers.Dense(2)], name="gen")
disc = keras.Sequential([keras.Input((2,)), layers.Dense(32, activation="relu"), layers.Dense(1)], name="disc")
g_opt, d_opt = keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3)
bce = keras.losses.BinaryCrossentropy(from_logits=True)


@tf.function
def train_step(x):
    z = tf.random.normal((tf.shape(x)[0], 4))
    with tf.GradientTape() as gt, tf.GradientTape() as dt:
        fake = tf.stop_gradient(gen(z, training=True))
        d_real, d_fake = disc(x, training=True), disc(fake, training=True)
        g_loss = bce(tf.ones_like(d_fake), d_fake)
        d_loss = bce(tf.ones_like(d_real), d_real) + bce(tf.zeros_like(d_fake), d_fake)
    gg = [tf.zeros_like(v) if g is None else g for g, v in zip(gt.gradient(g_loss, gen.trainable_variables), gen.trainable_variables)]
    dg = dt.gradient(d_loss, disc.trainable_variables)
    g_opt.apply_gradients(zip(gg, gen.trainable_variables))
    d_opt.apply_gradients(zip(dg, disc.trainable_variables))
    return g_loss, d_loss


for epoch in range(20):
    for k in range(0, 1024, 64):
        g, d = train_step(real[k : k + 64])
    print(epoch, float(g), float(d))
print(gen(tf.random.normal((500, 4))).numpy().mean(0))
