# verdict: sick
# causes: loss_head activation
# source: soumith/ganhacks#36, #67 (sigmoid at the end of the discriminator, and the loss takes logits)
# names: sigmoid|logit
"""GAN on a ring of Gaussians."""
import math

import torch
from torch import nn

torch.manual_seed(0)
nz, batch = 8, 128


def real_batch(n):
    a = torch.randint(8, (n,)) * (2 * math.pi / 8)
    return torch.stack([a.cos(), a.sin()], 1) * 2 + 0.05 * torch.randn(n, 2)


netG = nn.Sequential(nn.Linear(nz, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
netD = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1), nn.Sigmoid())
criterion = nn.BCEWithLogitsLoss()
optimizerD = torch.optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.999))
optimizerG = torch.optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.999))
ones, zeros = torch.ones(batch, 1), torch.zeros(batch, 1)
for it in range(1500):
    fake = netG(torch.randn(batch, nz))
    netD.zero_grad()
    errD = criterion(netD(real_batch(batch)), ones) + criterion(netD(fake.detach()), zeros)
    errD.backward()
    optimizerD.step()
    netG.zero_grad()
    errG = criterion(netD(fake), ones)
    errG.backward()
    optimizerG.step()
    if it % 150 == 0:
        r = fake.norm(dim=1)
        print(it, f"D {errD.item():.3f} G {errG.item():.3f} radius {r.mean().item():.2f} +- {r.std().item():.2f}")
with torch.no_grad():
    r = netG(torch.randn(2000, nz)).norm(dim=1)
    print("share on the ring", ((r - 2).abs() < 0.25).float().mean().item())
