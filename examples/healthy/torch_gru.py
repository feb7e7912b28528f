"""Healthy: a GRU that reads images row by row, its gradients clipped as usual."""

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x = torch.tensor(images / 16.0, dtype=torch.float32).reshape(-1, 8, 8)
y = torch.tensor(labels)


class Reader(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.rows = nn.GRU(8, width, batch_first=True)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        states, _ = self.rows(x)
        return self.head(states[:, -1])


model = Reader()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

for epoch in range(10):
    for rows in torch.randperm(len(x)).split(32):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.4f}")
