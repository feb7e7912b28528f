"""Training scripts in the usual styles, and what the tests ask of a patched one."""

import textwrap

from evengrad.fixing.changes.clip_gradients import ClipGradients
from evengrad.fixing.patch import write

KERAS_LIST = """
import keras
from keras import layers

x, y = load()
model = keras.Sequential(
    [
        keras.Input((28, 28, 1)),  # one channel
        layers.Conv2D(16, 3, activation="sigmoid"),
        layers.Flatten(),
        layers.Dense(64, activation="sigmoid"),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
model.fit(x, y)  # train
"""

KERAS_ADD = """
from tensorflow.keras.models import Sequential
from tensorflow.keras.layers import Dense, Activation

ACT = 'sigmoid'
model = Sequential()
model.add(Dense(64, activation=ACT, input_shape=(8,)))
model.add(Dense(64))
model.add(Activation('sigmoid'))
model.add(Dense(1, activation='sigmoid'))
model.compile('sgd', loss='binary_crossentropy')
model.fit(x, y)
"""

KERAS_FUNCTIONAL = """
import tensorflow as tf
from tensorflow import keras

layers = keras.layers
LR = 0.01  # found by hand

inputs = keras.Input(shape=(8,))
x = layers.Dense(64, activation="sigmoid", name="first")(inputs)
x = layers.Dense(64, activation=tf.nn.sigmoid, name="second")(x)
outputs = layers.Dense(1, activation="sigmoid", name="head")(x)
model = keras.Model(inputs, outputs)
opt = keras.optimizers.SGD(learning_rate=LR, momentum=0.9)
model.compile(optimizer=opt, loss=keras.losses.BinaryCrossentropy())
"""

KERAS_CLASS = """
import tensorflow as tf


class Net(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.dense1 = tf.keras.layers.Dense(64, activation="sigmoid")
        self.dense2 = tf.keras.layers.Dense(
            64,
            activation="sigmoid",
            bias_initializer="ones",
        )
        self.out = tf.keras.layers.Dense(1, activation="sigmoid")

    def call(self, x):
        x = self.dense1(x)
        x = self.dense2(x)
        return self.out(x)


model = Net()
model.compile(optimizer=tf.keras.optimizers.Adam(1e-3), loss="binary_crossentropy")
"""

KERAS_LOOP = """
import keras

DEPTH = 4
model = keras.Sequential()
for _ in range(DEPTH):
    model.add(keras.layers.Dense(32, activation="tanh"))
model.add(keras.layers.Dense(3))
model.compile(loss="mse")
"""

TORCH_LIST = """
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(
    nn.Linear(8, 16),  # first
    nn.Sigmoid(),
    nn.Linear(16, 16),
    nn.Sigmoid(),
    nn.Linear(16, 1),
    nn.Sigmoid(),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
x, y = torch.randn(32, 8), torch.rand(32, 1)
loss_fn = nn.BCELoss()
for step in range(3):
    optimizer.zero_grad()
    loss = loss_fn(model(x), y)
    loss.backward()
    # update
    optimizer.step()
"""

TORCH_CLASS = """
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc1 = nn.Linear(4 * 6 * 6, 16)
        self.fc2 = nn.Linear(16, 3)

    def forward(self, x):
        x = F.relu(self.conv(x))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return F.softmax(self.fc2(x), dim=1)


def train(model, x, y, optimizer):
    for step in range(3):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1, help="rate")
    args = parser.parse_args([])
    torch.manual_seed(0)
    model = Net()
    optimizer = optim.Adam(model.parameters(), args.lr, betas=(0.9, 0.999))
    train(model, torch.randn(8, 1, 8, 8), torch.randint(0, 3, (8,)), optimizer)
    return model, optimizer


if __name__ == "__main__":
    model, optimizer = main()
"""

KERAS = {
    "list": KERAS_LIST,
    "add": KERAS_ADD,
    "functional": KERAS_FUNCTIONAL,
    "class": KERAS_CLASS,
    "loop": KERAS_LOOP,
}
TORCH = {"list": TORCH_LIST, "class": TORCH_CLASS}


def patched(source, *changes, frontend):
    """The patch of a script, which must be valid Python whatever came of it."""
    patch = write(textwrap.dedent(source), changes, frontend)
    compile(patch.after.encode(), "after.py", "exec")
    assert patch.before == textwrap.dedent(source)
    if not any(isinstance(c, ClipGradients) and c.kind not in ("norm", "value") for c in changes):
        assert patch.after.count("evengrad") == patch.before.count("evengrad")
    return patch


def lines(patch):
    """The lines taken away and the lines added, without their indentation; nothing may be left over."""
    assert patch.manual == ()
    body = patch.diff("train.py").splitlines()[2:]
    gone = [line[1:].strip() for line in body if line.startswith("-")]
    new = [line[1:].strip() for line in body if line.startswith("+")]
    return gone, new


def added(source, *changes, frontend):
    """The lines that a patch adds."""
    return lines(patched(source, *changes, frontend=frontend))[1]


def by_hand(source, *changes, frontend):
    """The one message of a patch that leaves the script as it is."""
    patch = patched(source, *changes, frontend=frontend)
    assert patch.after == patch.before
    (message,) = patch.manual
    return message
