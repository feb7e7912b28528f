# verdict: sick
# causes: learning_rate
# source: discuss.pytorch.org 53484 (losses increase once the whole network is unfrozen)
# names: learning rate
"""Pretrained on the small digits, then all of it trained on the others."""

import copy

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(y)
backbone = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(32, 32, 3, padding=1),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
)


def train(model, parameters, inputs, labels, lr, epochs):
    optimizer = torch.optim.Adam(parameters, lr=lr)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(32):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[batch]), labels[batch])
            loss.backward()
            optimizer.step()
    accuracy = (model(inputs).argmax(1) == labels).float().mean().item()
    print(f"lr {lr} loss {loss.item():.4f} accuracy {accuracy:.3f}")


old, new = y < 5, y >= 5
source = nn.Sequential(backbone, nn.Linear(32, 5))
train(source, source.parameters(), x[old], y[old], 3e-3, 8)
model = nn.Sequential(copy.deepcopy(backbone), nn.Linear(32, 5))
model[0].requires_grad_(False)
train(model, model[1].parameters(), x[new], y[new] - 5, 1e-2, 6)
model[0].requires_grad_(True)
train(model, model.parameters(), x[new], y[new] - 5, 0.1, 6)
