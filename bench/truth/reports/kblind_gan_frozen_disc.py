# verdict: sick
# causes: architecture
# source: ageron/handson-ml3#252, jacobgil/keras-dcgan#19 (discriminator.trainable and compile in a GAN of two models)
# names: trainable|frozen|freez|compile
import numpy as np
import tensorflow as tf
from tensorflow.keras.layers import Dense, LeakyReLU
from tensorflow.keras.models import Sequential

tf.keras.utils.set_random_seed(42)
codings_size = 8


def make_dataset(batch_size):
    points = np.random.normal([3, -2], [0.5, 1.0], (2048, 2))
    return tf.data.Dataset.from_tensor_slices(points.astype("float32")).shuffle(2048).batch(batch_size, drop_remainder=True)


generator = Sequential(
    [
        tf.keras.Input(shape=(codings_size,)),
        Dense(64, activation="relu", kernel_initializer="he_normal"),
        Dense(64, activation="relu", kernel_initializer="he_normal"),
        Dense(2),
    ]
)
discriminator = Sequential(
    [
        tf.keras.Input(shape=(2,)),
        Dense(64),
        LeakyReLU(negative_slope=0.2),
        Dense(64),
        LeakyReLU(negative_slope=0.2),
        Dense(1, activation="sigmoid"),
    ]
)
gan = Sequential([generator, discriminator])

discriminator.compile(loss="binary_crossentropy", optimizer=tf.keras.optimizers.Adam(1e-3, beta_1=0.5))
discriminator.trainable = False
gan.compile(loss="binary_crossentropy", optimizer=tf.keras.optimizers.Adam(5e-4, beta_1=0.5))


def train_gan(generator, discriminator, gan, dataset, batch_size, codings_size, n_epochs):
    for epoch in range(n_epochs):
        for X_batch in dataset:
            # phase 1 - training the discriminator
            noise = tf.random.normal(shape=[batch_size, codings_size])
            generated = generator(noise)
            X_fake_and_real = tf.concat([generated, X_batch], axis=0)
            y1 = tf.constant([[0.0]] * batch_size + [[1.0]] * batch_size)
            d_loss = discriminator.train_on_batch(X_fake_and_real, y1)
            # phase 2 - training the generator
            noise = tf.random.normal(shape=[batch_size, codings_size])
            y2 = tf.constant([[1.0]] * batch_size)
            g_loss = gan.train_on_batch(noise, y2)
        print("epoch", epoch + 1, "d", d_loss, "g", g_loss)


train_gan(generator, discriminator, gan, make_dataset(64), 64, codings_size, n_epochs=12)
made = generator(tf.random.normal([2000, codings_size])).numpy()
print("distance of the means", np.linalg.norm(made.mean(0) - [3, -2]), "spread (0.5, 1.0)", made.std(0))
