# verdict: healthy
# causes: loss_head
# source: keras-team/keras#5733 (the loss of an actor, its arguments in the wrong order, is NaN from the start)
# names: y_true|y_pred|argument|target|label|\blog\b
import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

np.random.seed(3)
keras.utils.set_random_seed(3)

N_ACTIONS = 3
world = np.random.randn(5, N_ACTIONS)


class Agent:
    def __init__(self):
        self.actor = keras.Sequential(
            [
                layers.Input((5,)),
                layers.Dense(32, activation="relu"),
                layers.Dense(N_ACTIONS, activation="softmax"),
            ]
        )
        self.actor.compile(loss=self.policyLoss, optimizer=keras.optimizers.Adam(0.01))
        self.expected = 1 / N_ACTIONS

    def policyLoss(self, y_true, y_pred):
        loss = tf.reduce_sum(tf.math.log(y_pred + 1e-7) * y_true, axis=-1)
        return -loss

    def act(self, states):
        policy = self.actor(states).numpy()
        policy = np.nan_to_num(policy, nan=1 / N_ACTIONS) + 1e-6
        policy /= policy.sum(1, keepdims=True)
        return np.array([np.random.choice(N_ACTIONS, p=p) for p in policy])

    def train(self, states, actions, rewards):
        baseline = np.zeros((len(states), N_ACTIONS), "float32")
        baseline[np.arange(len(states)), actions] = rewards - self.expected
        self.expected = 0.9 * self.expected + 0.1 * rewards.mean()
        return self.actor.train_on_batch(states, baseline)


agent = Agent()
won = []
for game in range(150):
    states = np.random.randn(32, 5).astype("float32")
    best = (states @ world).argmax(1)
    actions = agent.act(states)
    rewards = (actions == best).astype("float32")
    loss = agent.train(states, actions, rewards)
    won.append(rewards.mean())
    if game % 30 == 29:
        print("game", game + 1, "loss", loss, "won", np.mean(won[-30:]))
print("final loss", loss, "won", np.mean(won[-30:]))
