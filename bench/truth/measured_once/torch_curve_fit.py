# verdict: sick
# causes: learning_rate input_data
# source: SO: three-parameter curve fit gives nan
# names: learning rate|normalis|input|scale
# figure: (?m)^\d+ (\S+)$
import torch

torch.manual_seed(0)
t = torch.linspace(0, 50, 200)
y = 3.0 + 0.8 * t + 0.05 * t**2 + torch.randn(200)

a = torch.zeros(1, requires_grad=True)
b = torch.zeros(1, requires_grad=True)
c = torch.zeros(1, requires_grad=True)
optimizer = torch.optim.SGD([a, b, c], lr=0.01)
for it in range(300):
    pred = a + b * t + c * t**2
    loss = ((pred - y) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if it % 50 == 0:
        print(it, loss.item())
print(a.item(), b.item(), c.item())
