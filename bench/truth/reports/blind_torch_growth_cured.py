# verdict: healthy
# causes: input_data initialisation learning_rate activation
# source: SO and forum: fit of a logistic curve against calendar years, the parameters do not move (sigmoid saturated, gradient 0)
# names: normali|scale|saturat|gradient|input
"""Population of a city, logistic growth, three parameters."""
import torch

torch.manual_seed(0)
years = torch.arange(1900, 2021, 5).float()
population = 3.1 / (1 + torch.exp(-0.06 * (years - 1962))) + 0.02 * torch.randn(len(years))

years = (years - years.mean()) / years.std()
K = torch.tensor(1.0, requires_grad=True)     # capacity, millions
r = torch.tensor(0.5, requires_grad=True)     # rate
t0 = torch.tensor(0.0, requires_grad=True)    # midpoint
optimizer = torch.optim.Adam([K, r, t0], lr=0.02)

for step in range(2000):
    optimizer.zero_grad()
    prediction = K * torch.sigmoid(r * (years - t0))
    loss = torch.mean((prediction - population) ** 2)
    loss.backward()
    optimizer.step()
    if step % 250 == 0:
        print(f"step {step} loss {loss.item():.5f} K {K.item():.3f} r {r.item():.3f} t0 {t0.item():.2f}")
print("R2", 1 - loss.item() / population.var(unbiased=False).item())
