# verdict: healthy
# causes: activation architecture loss_head
# source: math.stackexchange 4483706 "Are ReLU a very bad choice as last layer for regression?" and its kin (predictions all zero)
# names: ReLU|activation|negative
"""Temperature anomalies (some below zero) from a few sensors."""
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

rng = np.random.default_rng(4)
torch.manual_seed(4)
X = rng.normal(size=(1500, 6)).astype("float32")
y = (X @ rng.normal(size=6) + 0.5 * np.sin(3 * X[:, 0]) - 4.0 + 0.1 * rng.normal(size=1500)).astype("float32")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(6, 64)
        self.fc2 = nn.Linear(64, 64)
        self.fc3 = nn.Linear(64, 1)

    def forward(self, x):
        x = torch.relu(self.fc1(x))
        x = torch.relu(self.fc2(x))
        x = self.fc3(x)
        return x


net = Net()
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
loader = DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(y).unsqueeze(1)), batch_size=50, shuffle=True)
for epoch in range(15):
    s = 0.0
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = criterion(net(xb), yb)
        loss.backward()
        optimizer.step()
        s += loss.item()
    if epoch % 3 == 0:
        print(epoch, s / len(loader), "variance of y", y.var())
