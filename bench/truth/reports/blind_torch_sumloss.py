# verdict: sick
# causes: learning_rate loss_head
# source: pytorch/examples VAE questions and forum: reduction="sum" kept while the rate was made for a mean; loss explodes
# names: sum|mean|reduction|learning rate
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler
from torch import nn

torch.manual_seed(1)
X, y = load_breast_cancer(return_X_y=True)
X = torch.tensor(StandardScaler().fit_transform(X), dtype=torch.float32)
y = torch.tensor(y, dtype=torch.float32).unsqueeze(1)


class Auto(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 6))
        self.dec = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 30))

    def forward(self, x):
        return self.dec(self.enc(x))


model = Auto()
opt = torch.optim.SGD(model.parameters(), lr=0.05)
loss_fn = nn.MSELoss(reduction="sum")
for epoch in range(20):
    for xb in X[torch.randperm(len(X))].split(64):
        loss = loss_fn(model(xb), xb)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, loss.item() / xb.numel())
