# verdict: sick
# causes: architecture bad_batch normalisation
# source: forum: std of the last batch, which has one sample
# names: std|one sample|unbiased|single
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_breast_cancer

torch.manual_seed(1)
x, y = load_breast_cancer(return_X_y=True)
x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
x = (x - x.mean(0)) / x.std(0)
loader = DataLoader(TensorDataset(x[:545], y[:545]), batch_size=32, shuffle=True)  # 17 * 32 + 1


class Standardize(nn.Module):
    """as in the paper: per batch"""

    def forward(self, h):
        return (h - h.mean(0)) / (h.std(0) + 1e-5)


net = nn.Sequential(nn.Linear(30, 32), Standardize(), nn.ReLU(), nn.Linear(32, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.05)
bce = nn.BCEWithLogitsLoss()
for epoch in range(5):
    total = 0
    for a, b in loader:
        opt.zero_grad()
        loss = bce(net(a).squeeze(1), b)
        loss.backward()
        opt.step()
        total += loss.item()
    print(epoch, total)
