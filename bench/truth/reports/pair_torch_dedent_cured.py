# verdict: healthy
# causes: learning_rate architecture
# source: discuss.pytorch.org "Loss does not decrease" (the step is taken for the last of two networks alone), ganhacks; names as in pytorch/examples dcgan
# names: netD|discriminator
import torch
import torch.nn as nn

torch.manual_seed(8)
Z = 8


def real(n):
    angle = 6.2832 * torch.rand(n)
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2)


netG = nn.Sequential(nn.Linear(Z, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
netD = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
criterion = nn.BCEWithLogitsLoss()
optimizerD = torch.optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.999))
optimizerG = torch.optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.999))
ones, zeros = torch.ones(128, 1), torch.zeros(128, 1)
for i in range(600):
    netD.zero_grad()
    errD_real = criterion(netD(real(128)), ones)
    errD_real.backward()
    fake = netG(torch.randn(128, Z)).detach()
    errD_fake = criterion(netD(fake), zeros)
    errD_fake.backward()
    optimizerD.step()

    netG.zero_grad()
    errG = criterion(netD(netG(torch.randn(128, Z))), ones)
    errG.backward()
    optimizerG.step()
    if i % 100 == 0:
        print(f"[{i}/600] Loss_D: {(errD_real + errD_fake).item():.4f} Loss_G: {errG.item():.4f}")
with torch.no_grad():
    print("radius", netG(torch.randn(500, Z)).norm(dim=1).mean().item())
