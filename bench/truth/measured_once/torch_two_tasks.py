# verdict: sick
# causes: loss_head input_data
# source: forum: multi-task, price in dollars beside a class
# names: scale|weight|normalis|million|times|target
import torch
import torch.nn as nn
from sklearn.datasets import load_wine

torch.manual_seed(0)
w = load_wine()
X = torch.tensor(w.data, dtype=torch.float32)
X = (X - X.mean(0)) / X.std(0)
cls = torch.tensor(w.target)
price = 20000 + 9000 * X[:, 0] + 4000 * X[:, 5] + 500 * torch.randn(len(X))


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.kind = nn.Linear(32, 3)
        self.price = nn.Linear(32, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.kind(h), self.price(h).squeeze(1)


model = TwoHeads()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
ce, mse = nn.CrossEntropyLoss(), nn.MSELoss()
for epoch in range(60):
    perm = torch.randperm(len(X))
    for part in perm.split(32):
        kind, cost = model(X[part])
        loss = ce(kind, cls[part]) + mse(cost, price[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 20 == 19:
        print(epoch, loss.item(), (model(X)[0].argmax(1) == cls).float().mean().item())
