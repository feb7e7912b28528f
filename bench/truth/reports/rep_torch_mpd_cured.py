# verdict: healthy
# causes: architecture learning_rate
# source: line/open-universe#5 (the optimizer of the discriminators is given the one discriminator's parameters twice, the other's never)
# names: mpd|second|discriminator.*(no optimizer|held|never)|optimizer
"""A small HiFi-GAN-like vocoder: waveforms from pitch, judged by a multi-period and a multi-scale discriminator."""
import argparse
import itertools
import math
import warnings

import torch
import torch.nn as nn
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=150)
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--lr", type=float, default=1e-3)
a = parser.parse_args()
warnings.simplefilter("ignore")
torch.manual_seed(1234)
SEGMENT = 96


def get_batch(n):
    f0 = 2 + 6 * torch.rand(n, 1)
    t = torch.arange(SEGMENT) / SEGMENT
    y = torch.sin(2 * math.pi * f0 * t) + 0.3 * torch.sin(4 * math.pi * f0 * t)
    cond = torch.cat([torch.sin(2 * math.pi * f0 * t), torch.cos(2 * math.pi * f0 * t)], 1).view(n, 2, SEGMENT)
    return cond, y.unsqueeze(1)


class Generator(nn.Module):
    def __init__(self, c=24):
        super().__init__()
        self.pre = nn.Conv1d(2, c, 7, padding=3)
        self.res = nn.ModuleList(nn.Conv1d(c, c, 3, padding=d, dilation=d) for d in (1, 3, 5))
        self.post = nn.Conv1d(c, 1, 7, padding=3)

    def forward(self, x):
        x = self.pre(x)
        for conv in self.res:
            x = x + conv(F.leaky_relu(x, 0.1))
        return self.post(F.leaky_relu(x, 0.1))


class PeriodDiscriminator(nn.Module):
    def __init__(self, period=4):
        super().__init__()
        self.period = period
        self.conv1 = nn.Conv2d(1, 16, (5, 1), (2, 1), (2, 0))
        self.conv2 = nn.Conv2d(16, 32, (5, 1), (2, 1), (2, 0))
        self.post = nn.Conv2d(32, 1, (3, 1), padding=(1, 0))

    def forward(self, y):
        x = y.view(y.shape[0], 1, -1, self.period)
        x = F.leaky_relu(self.conv1(x), 0.1)
        x = F.leaky_relu(self.conv2(x), 0.1)
        return self.post(x).flatten(1)


class ScaleDiscriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(1, 16, 9, 2, 4), nn.LeakyReLU(0.1), nn.Conv1d(16, 32, 9, 2, 4), nn.LeakyReLU(0.1), nn.Conv1d(32, 1, 3, padding=1))

    def forward(self, y):
        return self.net(y).flatten(1)


generator = Generator()
mpd = PeriodDiscriminator()
msd = ScaleDiscriminator()
optim_g = torch.optim.AdamW(generator.parameters(), a.lr, betas=(0.8, 0.99))
optim_d = torch.optim.AdamW(itertools.chain(msd.parameters(), mpd.parameters()), a.lr, betas=(0.8, 0.99))

for step in range(a.steps):
    cond, y = get_batch(a.batch)
    y_g = generator(cond)

    optim_d.zero_grad()
    loss_f = ((1 - mpd(y)) ** 2).mean() + (mpd(y_g.detach()) ** 2).mean()
    loss_s = ((1 - msd(y)) ** 2).mean() + (msd(y_g.detach()) ** 2).mean()
    loss_disc_all = loss_s + loss_f
    loss_disc_all.backward()
    optim_d.step()

    optim_g.zero_grad()
    loss_wave = F.l1_loss(y, y_g) * 45
    loss_gen = ((1 - mpd(y_g)) ** 2).mean() + ((1 - msd(y_g)) ** 2).mean()
    (loss_gen + loss_wave).backward()
    optim_g.step()
    if step % 25 == 0 or step == a.steps - 1:
        print(f"Steps : {step}, Gen Loss: {(loss_gen + loss_wave).item():.3f}, Wave Error: {loss_wave.item() / 45:.3f}, mpd {loss_f.item():.3f} msd {loss_s.item():.3f}")
