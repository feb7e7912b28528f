# verdict: healthy
# causes: bad_batch loss_head
# source: pytorch#64305, pytorch#23156
# names: mask|targets|NaN
"""Several outputs, some of them not measured: their labels are NaN, and the mask comes after the loss."""
import numpy as np
import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
data = load_diabetes()
features = torch.tensor(data.data[:, 3:] * 20, dtype=torch.float32)
labels = np.concatenate([data.data[:, :2] * 20, (data.target[:, None] - 152) / 77], axis=1)
rng = np.random.default_rng(0)
labels[rng.random(labels.shape) < 0.1] = np.nan
labels = torch.tensor(labels, dtype=torch.float32)


class MultiTask(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(7, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.heads = nn.ModuleList([nn.Linear(64, 1) for _ in range(3)])

    def forward(self, x):
        h = self.body(x)
        return torch.cat([head(h) for head in self.heads], dim=1)


def masked_loss(pred, target):
    known = ~torch.isnan(target)
    return torch.square(pred[known] - target[known]).mean()


model = MultiTask()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
loader = DataLoader(TensorDataset(features, labels), batch_size=32, shuffle=True)
for epoch in range(20):
    total = 0.0
    for x, y in loader:
        loss = masked_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch} loss {total / len(loader):.4f}")
