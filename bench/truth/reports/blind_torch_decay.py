# verdict: sick
# causes: learning_rate architecture loss_head initialisation
# source: forum: weight_decay far too large (1.0 instead of 1e-4), the network outputs the mean, the loss does not move
# names: weight.?decay|decay
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X, dtype=torch.float32) / 16, torch.tensor(y)
net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1.0)
for epoch in range(12):
    losses = 0.0
    for idx in torch.randperm(len(X)).split(64):
        loss = F.cross_entropy(net(X[idx]), y[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses += loss.item() * len(idx)
    print(epoch, losses / len(X))
