# verdict: healthy
# causes: activation architecture
# source: lululxvi/deepxde#80 ("don't use relu, which is not second order differentiable"), ComputationalDomain/PINNs#1
# names: ReLU|tanh|second derivative|activation
"""u'' = -pi^2 sin(pi x) on [-1, 1], u(-1) = u(1) = 0."""
import math

import torch
from torch import nn

torch.manual_seed(1)


class PINN(nn.Module):
    def __init__(self, width=32, depth=3):
        super().__init__()
        layers = [nn.Linear(1, width), nn.Tanh()]
        for _ in range(depth - 1):
            layers += [nn.Linear(width, width), nn.Tanh()]
        layers.append(nn.Linear(width, 1))
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return self.net(x)


def residual(model, x):
    x.requires_grad_(True)
    u = model(x)
    du = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)[0]
    ddu = torch.autograd.grad(du, x, torch.ones_like(du), create_graph=True)[0]
    return ddu + math.pi ** 2 * torch.sin(math.pi * x)


model = PINN()
opt = torch.optim.Adam(model.parameters(), lr=2e-3)
xb = torch.tensor([[-1.0], [1.0]])
for it in range(1500):
    x = torch.rand(64, 1) * 2 - 1
    opt.zero_grad()
    loss_pde = residual(model, x).pow(2).mean()
    loss_bc = model(xb).pow(2).mean()
    loss = loss_pde + 10 * loss_bc
    loss.backward()
    opt.step()
    if it % 150 == 0:
        print(it, loss_pde.item(), loss_bc.item())
xs = torch.linspace(-1, 1, 101)[:, None]
print("error", (model(xs) - torch.sin(math.pi * xs)).abs().max().item())
