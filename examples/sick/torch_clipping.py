"""Sick: a recurrent network over rows of pixels, whose gradient leaps now and then and throws the weights off.

Cure: evengrad fix examples/sick/torch_clipping.py --only clipping
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x = torch.tensor(images / 16.0, dtype=torch.float32).reshape(-1, 16, 4)
y = torch.tensor(labels)


class Reader(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.width = width
        self.inputs = nn.Linear(4, width)
        self.state = nn.Linear(width, width, bias=False)
        self.head = nn.Linear(width, 10)
        nn.init.orthogonal_(self.state.weight, gain=1.3)

    def forward(self, x):
        state = x.new_zeros(len(x), self.width)
        for row in x.unbind(1):
            state = torch.relu(self.inputs(row) + self.state(state))
        return self.head(state)


model = Reader()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for epoch in range(20):
    for rows in torch.randperm(len(x)).split(32):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.4f}")
