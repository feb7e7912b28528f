# verdict: healthy
# causes: loss_head architecture input_data learning_rate
# source: tonyduan/mixture-density-network#4, keras-team/keras#2586 (mixture density network, loss goes inf, then nan)
# names: log|logsumexp|underflow
"""Mixture density network on a noisy sine, after Bishop's book."""
import math

import numpy as np
import torch
import torch.nn as nn

np.random.seed(0)
torch.manual_seed(0)
n = 1000
t = np.random.uniform(-20, 20, (n, 1))
x = 3 * (np.sin(0.75 * t) * 7.0 + t * 0.5 + np.random.randn(n, 1))
t, x = torch.from_numpy(x.astype(np.float32)), torch.from_numpy((t / 12).astype(np.float32))


class MDN(nn.Module):
    def __init__(self, hidden, k):
        super().__init__()
        self.z_h = nn.Sequential(nn.Linear(1, hidden), nn.Tanh())
        self.z_pi = nn.Linear(hidden, k)
        self.z_mu = nn.Linear(hidden, k)
        self.z_sigma = nn.Linear(hidden, k)

    def forward(self, x):
        z = self.z_h(x)
        return torch.softmax(self.z_pi(z), -1), self.z_mu(z), torch.exp(self.z_sigma(z))


def log_gaussian(y, mu, sigma):
    r = (y.expand_as(mu) - mu) / sigma
    return -0.5 * r * r - torch.log(sigma) - 0.5 * math.log(2 * math.pi)


def mdn_loss(pi, mu, sigma, y):
    return -torch.logsumexp(torch.log(pi + 1e-12) + log_gaussian(y, mu, sigma), dim=1).mean()


model = MDN(32, 8)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(600):
    pi, mu, sigma = model(x)
    loss = mdn_loss(pi, mu, sigma, t)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch % 100 == 99:
        print(epoch, loss.item())
