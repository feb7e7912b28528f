"""Sick: sixty layers of tanh with the gain that PyTorch recommends: each enlarges the gradient by a tenth.

Cure: evengrad fix examples/sick/torch_deep_tanh.py --only critical
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x = torch.tensor((images - images.mean()) / images.std(), dtype=torch.float32)
y = torch.tensor(labels)


class Plain(nn.Module):
    def __init__(self, width=48, depth=60):
        super().__init__()
        self.first = nn.Linear(64, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, 10)
        for layer in self.hidden:
            nn.init.xavier_normal_(layer.weight, gain=nn.init.calculate_gain("tanh"))

    def forward(self, x):
        x = torch.tanh(self.first(x))
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        return self.head(x)


model = Plain()
optimizer = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.9)

for epoch in range(20):
    for rows in torch.randperm(len(x)).split(32):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.4f}")
