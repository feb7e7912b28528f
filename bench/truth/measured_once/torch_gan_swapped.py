# verdict: sick
# causes: architecture loss_head learning_rate
# source: forum: the two optimizers of a GAN hold each other's parameters
# names: optimizer|swap|cross|other
# figure: (?#score)tensor\(\[\s*(-?[\d.]+)
import torch
import torch.nn as nn
torch.manual_seed(0)
real = torch.randn(2000, 2) * torch.tensor([1.0, 0.3]) + torch.tensor([2.0, -1.0])
gen = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
disc = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
opt_g = torch.optim.Adam(disc.parameters(), lr=1e-3, betas=(0.5, 0.9))
opt_d = torch.optim.Adam(gen.parameters(), lr=1e-3, betas=(0.5, 0.9))
bce = nn.BCEWithLogitsLoss()
for it in range(400):
    x = real[torch.randint(0, 2000, (64,))]
    z = torch.randn(64, 4)
    opt_d.zero_grad()
    d_loss = bce(disc(x), torch.ones(64, 1)) + bce(disc(gen(z).detach()), torch.zeros(64, 1))
    d_loss.backward()
    opt_d.step()
    opt_g.zero_grad()
    g_loss = bce(disc(gen(z)), torch.ones(64, 1))
    g_loss.backward()
    opt_g.step()
    if it % 100 == 0:
        print(it, d_loss.item(), g_loss.item())
print(gen(torch.randn(500, 4)).mean(0))
