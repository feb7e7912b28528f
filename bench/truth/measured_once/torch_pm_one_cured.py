# verdict: healthy
# causes: loss_head input_data
# source: SO: BCEWithLogitsLoss is negative (labels -1 and 1)
# names: label|target
import torch
from torch import nn
from sklearn.datasets import make_moons
from sklearn.svm import SVC

torch.manual_seed(0)
X, t = make_moons(600, noise=0.2, random_state=0)
t = t * 1
print("svm", SVC().fit(X, t).score(X, t))
X, t = torch.tensor(X, dtype=torch.float32), torch.tensor(t, dtype=torch.float32)


class BCE(nn.Module):
    def __init__(self):
        super().__init__()
        self.loss = nn.BCEWithLogitsLoss()

    def forward(self, logits, labels):
        return self.loss(logits.squeeze(-1), labels)


net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
criterion, optimizer = BCE(), torch.optim.Adam(net.parameters(), lr=0.01)
for epoch in range(10):
    perm = torch.randperm(600)
    for k in range(0, 600, 30):
        idx = perm[k : k + 30]
        optimizer.zero_grad()
        loss = criterion(net(X[idx]), t[idx])
        loss.backward()
        optimizer.step()
    print(epoch, loss.item(), ((net(X).squeeze() > 0) == (t > 0)).float().mean().item())
