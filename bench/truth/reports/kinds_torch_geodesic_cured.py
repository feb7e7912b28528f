# verdict: healthy
# causes: loss_head architecture bad_batch
# source: pytorch#8069, papagina/RotationContinuity#1 (torch.acos clamped at exactly 1)
# names: acos
"""Refine noisy rotations; the residual head starts at zero so that the first answer is the input itself."""
import math
import torch
from torch import nn

torch.manual_seed(0)


def rot_from_vec(v):
    zero = torch.zeros_like(v[:, 0])
    K = torch.stack([zero, -v[:, 2], v[:, 1], v[:, 2], zero, -v[:, 0], -v[:, 1], v[:, 0], zero], 1).view(-1, 3, 3)
    return torch.matrix_exp(K)


class Refiner(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(9, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
        self.delta = nn.Linear(128, 3)
        nn.init.zeros_(self.delta.weight)
        nn.init.zeros_(self.delta.bias)

    def forward(self, R):
        d = self.delta(self.trunk(R.flatten(1)))
        return rot_from_vec(d) @ R


def geodesic_loss(pred, target):
    m = torch.bmm(pred, target.transpose(1, 2))
    cos = (m.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
    cos = torch.clamp(cos, -1.0 + 1e-6, 1.0 - 1e-6)
    return torch.acos(cos).mean()


model = Refiner()
opt = torch.optim.Adam(model.parameters(), lr=1e-3)

angles = torch.rand(4096, 3) * 2 - 1
targets = rot_from_vec(angles)
# samples with a positive first angle are tilted about z, the others are well aligned already
tilt = torch.zeros(4096, 3)
tilt[:, 2] = 0.6
inputs = rot_from_vec(tilt * (angles[:, :1] > 0)) @ targets

for epoch in range(8):
    perm = torch.randperm(4096)
    total = 0.0
    for i in range(0, 4096, 64):
        idx = perm[i : i + 64]
        loss = geodesic_loss(model(inputs[idx]), targets[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item()
    print(f"epoch {epoch}: mean angle {math.degrees(total / 64):.2f} deg")
