# verdict: sick
# causes: architecture learning_rate
# source: PyTorch documentation, optim.LBFGS (the closure should clear the gradients, compute the loss and return it); a PINN whose closure does not clear them
# names: zero_grad
"""Physics-informed network: u'' = -pi^2 sin(pi x), u(0) = u(1) = 0."""
import math

import torch
import torch.nn as nn

torch.manual_seed(1)


class PINN:
    def __init__(self):
        self.u = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 1))
        self.x_f = torch.linspace(0, 1, 60).view(-1, 1).requires_grad_()
        self.x_b = torch.tensor([[0.0], [1.0]])
        self.optimizer = torch.optim.LBFGS(self.u.parameters(), lr=1.0, max_iter=20, history_size=20, line_search_fn="strong_wolfe")
        self.iter = 0

    def loss(self):
        u = self.u(self.x_f)
        u_x = torch.autograd.grad(u.sum(), self.x_f, create_graph=True)[0]
        u_xx = torch.autograd.grad(u_x.sum(), self.x_f, create_graph=True)[0]
        residual = u_xx + math.pi**2 * torch.sin(math.pi * self.x_f.detach())
        return residual.pow(2).mean() + 10 * self.u(self.x_b).pow(2).mean()

    def closure(self):
        loss = self.loss()
        loss.backward()
        self.iter += 1
        return loss

    def train(self, rounds=15):
        for r in range(rounds):
            loss = self.optimizer.step(self.closure)
            if r % 5 == 0 or r == rounds - 1:
                print(f"round {r} calls {self.iter} loss {loss.item():.5f}")


pinn = PINN()
pinn.train()
with torch.no_grad():
    x = torch.linspace(0, 1, 101).view(-1, 1)
    print("error", (pinn.u(x) - torch.sin(math.pi * x)).abs().max().item())
