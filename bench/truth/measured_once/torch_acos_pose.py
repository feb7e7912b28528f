# verdict: sick
# causes: loss_head architecture
# source: pytorch#8069 style: geodesic loss
# names: acos|clamp
import torch, torch.nn as nn
from torch.nn import functional as F
torch.manual_seed(3)

class PoseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.out = nn.Linear(64, 4)
    def forward(self, x):
        return F.normalize(self.out(self.body(x)), dim=1)

def angle(q, p):
    dot = (q * p).sum(1).abs()
    return 2 * torch.acos(dot)

x = torch.randn(512, 8)
w = torch.randn(8, 4)
target = F.normalize(x @ w, dim=1)
# some poses are the identity and the net starts from it
net = PoseNet()
opt = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(20):
    for i in range(0, 512, 32):
        q = net(x[i:i + 32])
        p = target[i:i + 32].clone()
        if i == 64 and epoch > 1:
            p[0] = q[0].detach()  # refined label: the prediction itself
        loss = angle(q, p).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, loss.item())
