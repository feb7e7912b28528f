"""Sick: a loss of small weight in half precision; its gradients are below what float16 can hold.

Cure: evengrad fix examples/sick/torch_half_precision.py
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x = torch.tensor((images - images.mean()) / images.std(), dtype=torch.float32)
y = torch.tensor(labels)

model = nn.Sequential(
    nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-15)
weight = 1e-6  # one of many losses

for epoch in range(20):
    for rows in torch.randperm(len(x)).split(32):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            outputs = model(x[rows])
            loss = weight * nn.functional.cross_entropy(outputs, y[rows])
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item() / weight:.4f}")
