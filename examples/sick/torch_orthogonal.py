"""Sick: thirty layers of tanh with PyTorch's own weights, a sixth of the variance that keeps the signal.

Cure: evengrad fix examples/sick/torch_orthogonal.py --only orthogonal
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

DEPTH = 30

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x = torch.tensor((images - images.mean()) / images.std(), dtype=torch.float32)
y = torch.tensor(labels)


class Deep(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(DEPTH))
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        return self.head(x)


model = Deep()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

for epoch in range(20):
    for rows in torch.randperm(len(x)).split(32):
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.4f}")
