# verdict: sick
# causes: loss_head architecture input_data
# source: keras.io DDPG/actor-critic scripts, SO "critic loss does not go down" (rewards of shape (N,) against values of shape (N, 1))
# names: shape|broadcast|squeeze|reshape|\(N|N, ?1
import numpy as np
import tensorflow as tf

tf.keras.utils.set_random_seed(37)
rng = np.random.default_rng(37)


def experience(n):
    """States of a pendulum and what they were worth in the end."""
    state = rng.uniform(-1, 1, (n, 3)).astype("float32")
    worth = np.cos(2 * state[:, 0]) - state[:, 1] ** 2 + 0.5 * state[:, 2] + rng.normal(0, 0.05, n)
    return state, worth.astype("float32")


critic_model = tf.keras.Sequential(
    [
        tf.keras.layers.Input((3,)),
        tf.keras.layers.Dense(64, activation="relu"),
        tf.keras.layers.Dense(64, activation="relu"),
        tf.keras.layers.Dense(1),
    ]
)
critic_optimizer = tf.keras.optimizers.Adam(2e-3)

for episode in range(300):
    state_batch, return_batch = experience(64)
    with tf.GradientTape() as tape:
        critic_value = critic_model(state_batch, training=True)
        critic_loss = tf.math.reduce_mean(tf.math.square(return_batch - critic_value))
    critic_grad = tape.gradient(critic_loss, critic_model.trainable_variables)
    critic_optimizer.apply_gradients(zip(critic_grad, critic_model.trainable_variables))
    if episode % 100 == 99:
        print("episode", episode + 1, "loss", float(critic_loss))
state, worth = experience(1000)
value = critic_model(state).numpy()[:, 0]
print("R2", 1 - np.mean((value - worth) ** 2) / np.var(worth))
