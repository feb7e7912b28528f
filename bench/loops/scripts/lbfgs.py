"""PyTorch: a closure, as LBFGS asks for it."""

# needs: torch
# sick: "lr=0.5" -> "lr=300.0"

import torch

torch.manual_seed(0)
x = torch.randn(256, 8)
y = torch.sin(x.sum(1, keepdim=True))
model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5)


def closure():
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(x), y)
    loss.backward()
    return loss


for step in range(30):
    loss = optimizer.step(closure)
print(f"loss {loss.item():.4f}")
