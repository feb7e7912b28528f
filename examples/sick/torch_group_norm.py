"""Sick: ten convolutions whose weights are too small for so many, trained on eight images at a time.

Cure: evengrad fix examples/sick/torch_group_norm.py --only normalisation
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x = torch.tensor(images / 16.0, dtype=torch.float32).reshape(-1, 1, 8, 8)
y = torch.tensor(labels)

layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()]
for _ in range(9):
    layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 8 * 8, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)

for epoch in range(10):
    for rows in torch.randperm(len(x)).split(8):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.4f}")
