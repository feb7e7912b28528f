# verdict: sick
# causes: loss_head architecture input_data initialisation learning_rate
# source: vanderschaarlab/synthcity#331 (log variance unbounded, its exp overflows and the VAE turns NaN)
# names: logvar|log_var|exp\b|clamp|normalis|input
"""Tabular VAE on scikit-learn's breast cancer table, columns as they come."""
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.nn import functional as F

torch.manual_seed(42)
X = torch.tensor(load_breast_cancer().data, dtype=torch.float32)


class VAE(nn.Module):
    def __init__(self, d_in, d_hidden=64, d_latent=4):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(d_in, d_hidden), nn.ReLU(), nn.Linear(d_hidden, d_hidden), nn.ReLU())
        self.fc_mu = nn.Linear(d_hidden, d_latent)
        self.fc_var = nn.Linear(d_hidden, d_latent)
        self.decoder = nn.Sequential(nn.Linear(d_latent, d_hidden), nn.ReLU(), nn.Linear(d_hidden, d_in))

    def reparameterize(self, mu, log_var):
        std = torch.exp(0.5 * log_var)
        return mu + std * torch.randn_like(std)

    def forward(self, x):
        h = self.encoder(x)
        mu, log_var = self.fc_mu(h), self.fc_var(h)
        return self.decoder(self.reparameterize(mu, log_var)), mu, log_var


vae = VAE(X.shape[1])
opt = torch.optim.Adam(vae.parameters(), lr=1e-3)
for epoch in range(40):
    for xb in X[torch.randperm(len(X))].split(32):
        recon, mu, log_var = vae(xb)
        rec = F.mse_loss(recon, xb, reduction="none").sum(1).mean()
        kld = torch.mean(-0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp(), dim=1))
        loss = rec + kld
        opt.zero_grad()
        loss.backward()
        opt.step()
    if epoch % 8 == 0:
        print(epoch, "rec", rec.item(), "kld", kld.item())
