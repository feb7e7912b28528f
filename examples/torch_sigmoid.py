"""A deep sigmoid network whose gradient vanishes, in a plain PyTorch loop on scikit-learn's digits.

The initialisation is Xavier's and the input is standardised: what shrinks the gradient is the
sigmoid, whose slope is 1/4 at best.
"""

import argparse
from itertools import pairwise

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

DEPTH, WIDTH = 10, 128


def digits():
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32)
    return TensorDataset((x - x.mean()) / x.std(), torch.tensor(labels))


class DeepSigmoid(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [64] + [WIDTH] * DEPTH
        self.hidden = nn.ModuleList(nn.Linear(below, above) for below, above in pairwise(widths))
        self.output = nn.Linear(WIDTH, 10)
        for layer in [*self.hidden, self.output]:
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        for layer in self.hidden:
            x = torch.sigmoid(layer(x))
        return self.output(x)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    epochs = parser.parse_args().epochs

    torch.manual_seed(0)
    model = DeepSigmoid()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_fn = nn.CrossEntropyLoss()
    loader = DataLoader(digits(), batch_size=64, shuffle=True)
    for epoch in range(epochs):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        print(f"epoch {epoch + 1}: loss {total / len(loader.dataset):.4f}")


if __name__ == "__main__":
    main()
