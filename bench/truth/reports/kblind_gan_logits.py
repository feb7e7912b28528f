# verdict: sick
# causes: architecture loss_head
# source: tensorflow.org DCGAN tutorial, SO "my GAN's generator does not learn" (the discriminator's loss is given to the generator's optimizer as well)
# names: generator|other|own|swap|wrong loss|loss of
import numpy as np
import tensorflow as tf

tf.keras.utils.set_random_seed(63)
rng = np.random.default_rng(63)
real = rng.normal([2.0, -1.0], [0.5, 0.3], (2048, 2)).astype("float32")
dataset = tf.data.Dataset.from_tensor_slices(real).shuffle(2048).batch(64, drop_remainder=True)


class GAN(tf.keras.Model):
    def __init__(self, discriminator, generator, latent_dim):
        super().__init__()
        self.discriminator = discriminator
        self.generator = generator
        self.latent_dim = latent_dim

    def compile(self, d_optimizer, g_optimizer, loss_fn):
        super().compile()
        self.d_optimizer = d_optimizer
        self.g_optimizer = g_optimizer
        self.loss_fn = loss_fn

    def train_step(self, real_images):
        noise = tf.random.normal((64, self.latent_dim))
        with tf.GradientTape() as d_tape, tf.GradientTape() as g_tape:
            generated = self.generator(noise, training=True)
            real_output = self.discriminator(real_images, training=True)
            fake_output = self.discriminator(generated, training=True)
            d_loss = self.loss_fn(tf.ones_like(real_output), real_output) + self.loss_fn(tf.zeros_like(fake_output), fake_output)
            g_loss = self.loss_fn(tf.ones_like(fake_output), fake_output)
        g_grads = g_tape.gradient(d_loss, self.generator.trainable_weights)
        d_grads = d_tape.gradient(d_loss, self.discriminator.trainable_weights)
        self.g_optimizer.apply_gradients(zip(g_grads, self.generator.trainable_weights))
        self.d_optimizer.apply_gradients(zip(d_grads, self.discriminator.trainable_weights))
        return {"d_loss": d_loss, "g_loss": g_loss}


discriminator = tf.keras.Sequential(
    [tf.keras.Input((2,)), tf.keras.layers.Dense(64), tf.keras.layers.LeakyReLU(0.2), tf.keras.layers.Dense(64), tf.keras.layers.LeakyReLU(0.2), tf.keras.layers.Dense(1)]
)
generator = tf.keras.Sequential(
    [tf.keras.Input((8,)), tf.keras.layers.Dense(64, activation="relu"), tf.keras.layers.Dense(64, activation="relu"), tf.keras.layers.Dense(2)]
)
gan = GAN(discriminator, generator, 8)
gan.compile(
    d_optimizer=tf.keras.optimizers.Adam(1e-3, beta_1=0.5),
    g_optimizer=tf.keras.optimizers.Adam(1e-3, beta_1=0.5),
    loss_fn=tf.keras.losses.BinaryCrossentropy(from_logits=True),
)
gan.fit(dataset, epochs=50, verbose=0)
made = generator(tf.random.normal((2000, 8))).numpy()
print("distance of the means", np.linalg.norm(made.mean(0) - real.mean(0)), "spread", made.std(0))
