# verdict: healthy
# causes: loss_head learning_rate architecture
# source: AppliedDataSciencePartners/WorldModels#12 (posterior collapse: one term a mean, the other a sum)
# names: KL|sum|term|weigh|dominat|drown
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

torch.manual_seed(2)
X = torch.tensor(load_digits().data / 16, dtype=torch.float32)


class VAE(nn.Module):
    def __init__(self, z=8):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 128), nn.ReLU())
        self.mu, self.logvar = nn.Linear(128, z), nn.Linear(128, z)
        self.dec = nn.Sequential(nn.Linear(z, 128), nn.ReLU(), nn.Linear(128, 64), nn.Sigmoid())

    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return self.dec(z), mu, logvar


vae = VAE()
opt = torch.optim.Adam(vae.parameters(), lr=2e-3)
for epoch in range(25):
    for x in X[torch.randperm(len(X))].split(64):
        recon, mu, logvar = vae(x)
        rec = F.mse_loss(recon, x, reduction="sum") / len(x) * 8
        kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / len(x)
        loss = rec + kld
        opt.zero_grad()
        loss.backward()
        opt.step()
    if epoch % 4 == 0:
        print(f"{epoch} rec {rec.item():.4f} kl {kld.item() / len(x):.4f}")
with torch.no_grad():
    recon, mu, _ = vae(X)
    print("share of the variance explained", 1 - ((recon - X) ** 2).sum().item() / ((X - X.mean(0)) ** 2).sum().item())
