"""Sick: twelve layers of sigmoids; each lets through at most a quarter of the gradient.

Cure: evengrad fix examples/sick/torch_deep_sigmoid.py
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x = torch.tensor((images - images.mean()) / images.std(), dtype=torch.float32)
y = torch.tensor(labels)

layers = [nn.Linear(64, 64), nn.Sigmoid()]
for _ in range(11):
    layers += [nn.Linear(64, 64), nn.Sigmoid()]
model = nn.Sequential(*layers, nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
loss_fn = nn.CrossEntropyLoss()

for epoch in range(20):
    for rows in torch.randperm(len(x)).split(16):
        optimizer.zero_grad()
        loss = loss_fn(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.4f}")
