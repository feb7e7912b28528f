# verdict: healthy
# source: pytorch#16045, pytorch#16413: (N, 1) against (N,), the loss written by hand
"""Disease progression from scikit-learn's diabetes table, with a mean absolute error of one's own."""

import torch
from sklearn.datasets import load_diabetes
from torch import nn


class Net(nn.Module):
    def __init__(self, inputs, hidden=48):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh()
        )
        self.head = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.head(self.body(x))


def mean_absolute_error(y_hat, y):
    return torch.abs(y_hat.squeeze(1) - y).mean()


torch.manual_seed(3)
x, y = load_diabetes(return_X_y=True)
x = torch.as_tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
y = torch.as_tensor((y - y.mean()) / y.std(), dtype=torch.float32)
train, test = torch.randperm(len(x)).split([354, 88])
net = Net(x.shape[1])
optim = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(25):
    for batch in train[torch.randperm(len(train))].split(24):
        loss = mean_absolute_error(net(x[batch]), y[batch])
        optim.zero_grad()
        loss.backward()
        optim.step()
with torch.no_grad():
    p = net(x[test]).squeeze(1)
print(
    f"final loss {loss.item():.4f} r2 {1 - ((p - y[test]) ** 2).mean().item() / y[test].var().item():.3f}"
)
