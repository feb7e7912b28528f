# verdict: sick
# causes: input_data bad_batch
# source: SO and forum: standardising columns some of which are constant gives NaN inputs (0/0), the loss is nan at once
# names: std|constant|standard deviation|NaN
import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X = torch.tensor(X, dtype=torch.float32)
y = torch.tensor(y)
X = (X - X.mean(dim=0)) / X.std(dim=0)

clf = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
opt = torch.optim.SGD(clf.parameters(), lr=0.05, momentum=0.9)
crit = nn.CrossEntropyLoss()
for ep in range(15):
    p = torch.randperm(len(X))
    for b in range(0, len(X), 64):
        ix = p[b : b + 64]
        opt.zero_grad()
        l = crit(clf(X[ix]), y[ix])
        l.backward()
        opt.step()
    print(ep, l.item(), (clf(X).argmax(1) == y).float().mean().item())
