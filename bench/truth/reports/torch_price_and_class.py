# verdict: sick
# causes: loss_head input_data
# source: the usual question about multi-task losses (1705.07115): one target in its raw unit
# names: scale|weigh
"""Two heads on one trunk: what a flat costs, and whether it is sold within a month."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(4)
rng = np.random.default_rng(4)
area, rooms = rng.normal(80, 25, 2000).clip(20), rng.integers(1, 6, 2000)
floor, age = rng.integers(0, 9, 2000), rng.uniform(0, 90, 2000)
price = 3100 * area + 12000 * rooms - 900 * age + rng.normal(0, 12000, 2000)
sold = (rng.normal(0, 0.4, 2000) + floor / 4 - age / 45 > 0).astype("int64")
table = np.stack([area, rooms, floor, age], 1)
x = torch.tensor((table - table.mean(0)) / table.std(0), dtype=torch.float32)
price = torch.tensor(price, dtype=torch.float32).unsqueeze(1)
sold = torch.tensor(sold)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU())
        self.price, self.sold = nn.Linear(48, 1), nn.Linear(48, 2)

    def forward(self, x):
        h = self.trunk(x)
        return self.price(h), self.sold(h)


model = TwoHeads()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for epoch in range(15):
    for i in torch.randperm(1600).split(50):
        value, kind = model(x[i])
        loss_price = F.mse_loss(value, price[i])
        loss_sold = F.cross_entropy(kind, sold[i])
        loss = loss_price + loss_sold
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
with torch.no_grad():
    value, kind = model(x[1600:])
r2 = 1 - ((value - price[1600:]) ** 2).mean() / price[1600:].var()
accuracy = (kind.argmax(1) == sold[1600:]).float().mean()
print(f"final loss {loss.item():.4g} r2 {r2.item():.3f} accuracy {accuracy.item():.3f}")
