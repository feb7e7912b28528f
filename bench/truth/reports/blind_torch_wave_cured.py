# verdict: healthy
# causes: learning_rate
# source: pytorch#156501 (loss with LBFGS not going down), mlverse/torch#516 (LBFGS without line search jumps away), lululxvi/deepxde#1463
# names: line.?search|strong_wolfe|learning rate
"""Fit of a damped oscillation, four parameters, LBFGS because it is what scipy would use."""
import math

import torch

torch.manual_seed(0)
t = torch.linspace(0, 10, 200)
truth = torch.tensor([2.0, 0.3, 2.2, 0.4])
data = truth[0] * torch.exp(-truth[1] * t) * torch.cos(truth[2] * t + truth[3]) + 0.02 * torch.randn(200)

params = torch.tensor([1.0, 0.1, 2.0, 0.0], requires_grad=True)
opt = torch.optim.LBFGS([params], lr=1, max_iter=20, line_search_fn="strong_wolfe")


def model(p):
    return p[0] * torch.exp(-p[1] * t) * torch.cos(p[2] * t + p[3])


def closure():
    opt.zero_grad()
    loss = ((model(params) - data) ** 2).sum()
    loss.backward()
    return loss


for i in range(20):
    loss = opt.step(closure)
    print(i, loss.item(), [round(v, 3) for v in params.tolist()])
