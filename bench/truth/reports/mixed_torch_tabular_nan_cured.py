# verdict: healthy
# causes: input_data learning_rate
# source: discuss.pytorch.org "linear regression loss is nan / inf" (features in their own units, SGD)
# names: normalis|standardi|scale
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
rng = np.random.default_rng(0)
n = 1000
df = pd.DataFrame({
    "sqft": rng.normal(1800, 500, n).clip(400), "bedrooms": rng.integers(1, 6, n),
    "year": rng.integers(1930, 2020, n), "lot": rng.exponential(6000, n),
})
df["price"] = 0.15 * df.sqft + 12 * df.bedrooms + 0.8 * (df.year - 1930) + 0.004 * df.lot + rng.normal(0, 15, n)
features = df[["sqft", "bedrooms", "year", "lot"]].values
target = df[["price"]].values
features = (features - features.mean(0)) / features.std(0)
target = (target - target.mean()) / target.std()
X = torch.tensor(features, dtype=torch.float32)
y = torch.tensor(target, dtype=torch.float32)
loader = DataLoader(TensorDataset(X[:800], y[:800]), batch_size=32, shuffle=True)

model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))
loss_fn = nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
for epoch in range(20):
    for xb, yb in loader:
        pred = model(xb)
        loss = loss_fn(pred, yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1} loss {loss.item():.4f}")
with torch.no_grad():
    r2 = 1 - ((model(X[800:]) - y[800:]) ** 2).mean() / y[800:].var()
print(f"final loss {loss.item():.4f} r2 {r2.item():.3f}")
