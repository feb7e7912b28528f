# verdict: healthy
# causes: learning_rate
# source: runebook.dev "LambdaLR pitfalls", pytorch docs LambdaLR (the function gives a factor, not a rate)
# names: LambdaLR|lr_lambda|factor|multipl
"""Regression of diabetes progression with a hand-made warm-up and decay."""
import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

torch.manual_seed(0)
data = load_diabetes()
X = torch.tensor(StandardScaler().fit_transform(data.data), dtype=torch.float32)
y = torch.tensor(data.target, dtype=torch.float32).view(-1, 1)
y = (y - y.mean()) / y.std()

BASE_LR = 1e-3
WARMUP = 5


def get_lr(epoch):
    if epoch < WARMUP:
        return (epoch + 1) / WARMUP
    return 0.97 ** (epoch - WARMUP)


model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=BASE_LR)
scheduler = LambdaLR(optimizer, lr_lambda=get_lr)
loss_fn = nn.MSELoss()

for epoch in range(60):
    order = torch.randperm(len(X))
    total = 0.0
    for start in range(0, len(X), 32):
        batch = order[start : start + 32]
        loss = loss_fn(model(X[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    scheduler.step()
    if epoch % 10 == 9:
        print(f"epoch {epoch + 1}: mse {total / len(X):.4f}")
