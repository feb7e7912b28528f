"""Sick: forty plain layers, each behind a batch normalisation; the gradient grows in each of them.

Cure: evengrad fix examples/sick/torch_batch_norm_stack.py --only skip
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x = torch.tensor((images - images.mean()) / images.std(), dtype=torch.float32)
y = torch.tensor(labels)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x):
        return torch.relu(self.norm(self.linear(x)))


model = nn.Sequential(
    nn.Linear(64, 48), nn.ReLU(), *(Block(48) for _ in range(40)), nn.Linear(48, 10)
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for epoch in range(20):
    for rows in torch.randperm(len(x)).split(64):
        if len(rows) < 64:
            continue
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.4f}")
