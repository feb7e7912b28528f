# verdict: sick
# causes: input_data bad_batch loss_head
# source: forum and SO: log of a target that is sometimes 0 (sales, counts) gives -inf, the loss is inf, then nan
# names: target|label|log1p|-inf|infinit
"""Daily sales of small shops; the model predicts their logarithm."""
import numpy as np
import pandas as pd
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

rng = np.random.default_rng(11)
torch.manual_seed(11)
frame = pd.DataFrame(rng.normal(size=(3000, 8)), columns=[f"f{i}" for i in range(8)])
rate = np.exp(3.0 + 0.5 * frame["f0"] - 0.3 * frame["f1"] + 0.2 * np.sin(2 * frame["f2"]))
frame["sales"] = rng.poisson(rate)
frame.loc[rng.integers(0, 3000, 25), "sales"] = 0  # closed
X = StandardScaler().fit_transform(frame.drop(columns="sales")).astype(np.float32)
with np.errstate(divide="ignore"):
    y = np.log(frame["sales"].to_numpy(dtype=np.float32))

loader = DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), batch_size=64, shuffle=True)
net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
criterion = nn.MSELoss()
for epoch in range(10):
    total = 0.0
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = criterion(net(xb).squeeze(-1), yb)
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch}: {total / len(loader):.4f}")
