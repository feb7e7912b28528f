# verdict: sick
# causes: learning_rate loss_head input_data
# source: farizrahman4u/qlearning4k#13, keras-rl#376 (loss of a DQN explodes to 1e20, then NaN)
# names: learning rate|rate|reward|target|terminal|scale|normalis
import random
from collections import deque

import numpy as np
import tensorflow as tf
from tensorflow.keras.layers import Dense, Input
from tensorflow.keras.models import Sequential
from tensorflow.keras.optimizers import SGD

tf.keras.utils.set_random_seed(7)


class Corridor:
    """Ten cells; the goal is at the right end, a pit at the left one."""

    size = 10

    def reset(self):
        self.position = 4
        return self.state()

    def state(self):
        one_hot = np.zeros(self.size, "float32")
        one_hot[self.position] = 1
        return one_hot

    def step(self, action):
        self.position += 1 if action == 1 else -1
        if self.position >= self.size - 1:
            return self.state(), 100.0, True
        if self.position <= 0:
            return self.state(), -100.0, True
        return self.state(), -1.0, False


class DQNAgent:
    def __init__(self, state_size, action_size):
        self.action_size = action_size
        self.memory = deque(maxlen=2000)
        self.gamma = 0.95
        self.epsilon = 1.0
        self.model = self._build_model(state_size)

    def _build_model(self, state_size):
        model = Sequential()
        model.add(Input((state_size,)))
        model.add(Dense(24, activation="relu"))
        model.add(Dense(24, activation="relu"))
        model.add(Dense(self.action_size, activation="linear"))
        model.compile(loss="mse", optimizer=SGD(0.1))
        return model

    def act(self, state):
        if np.random.rand() <= self.epsilon:
            return random.randrange(self.action_size)
        return int(np.argmax(self.model(state[None]).numpy()[0]))

    def replay(self, batch_size):
        minibatch = random.sample(self.memory, batch_size)
        states, actions, rewards, nexts, dones = map(np.array, zip(*minibatch))
        target = self.model(states).numpy()
        future = self.model(nexts).numpy().max(1)
        target[np.arange(batch_size), actions] = rewards + self.gamma * future * (1 - dones)
        loss = self.model.train_on_batch(states, target)
        self.epsilon = max(0.05, self.epsilon * 0.99)
        return loss


env, agent = Corridor(), DQNAgent(10, 2)
wins = []
for episode in range(120):
    state, done, steps = env.reset(), False, 0
    while not done and steps < 40:
        action = agent.act(state)
        next_state, reward, done = env.step(action)
        agent.memory.append((state, action, reward, next_state, float(done)))
        state, steps = next_state, steps + 1
        if len(agent.memory) >= 64 and steps % 2 == 0:
            loss = agent.replay(64)
    wins.append(done and reward > 0)
    if episode % 20 == 19:
        print("episode", episode + 1, "loss", float(loss), "won of the last 20:", np.mean(wins[-20:]))
