# verdict: sick
# causes: loss_head bad_batch input_data
# source: pytorch#75181: every label of the batch is ignored
# names: ignore
# patch: none
import torch
import torch.nn as nn
torch.manual_seed(0)
T, V = 10, 12


def batch(n=16):
    x = torch.randint(0, V, (n, T))
    y = x.roll(1, 1)
    masked = torch.rand(n, T) < RATE
    return x, y.masked_fill(~masked, -100)


RATE = 0.004
model = nn.Sequential(nn.Embedding(V, 32), nn.Conv1d(T, T, 3, padding=1), nn.ReLU(), nn.Linear(32, V))
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
criterion = nn.CrossEntropyLoss()
for step in range(200):
    x, y = batch()
    loss = criterion(model(x).view(-1, V), y.view(-1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 0:
        print(step, loss.item())
