# verdict: sick
# causes: input_data learning_rate
# source: rstudio-conf-2020/dl-keras-tf#9 (sales prices up to 755000, squared error, SGD with 0.1: nan from the first epoch), as a PyTorch user has it
# names: scale|normalis|standardis|\blog|learning rate|rate
import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(9)
rng = np.random.default_rng(9)
n = 1460
features = rng.normal(size=(n, 12)).astype("float32")
prices = np.exp(12.0 + 0.3 * features[:, 0] + 0.2 * features[:, 1] - 0.1 * features[:, 2] * features[:, 3] + 0.05 * rng.normal(size=n))
target = torch.tensor(prices, dtype=torch.float32).unsqueeze(1)
loader = DataLoader(TensorDataset(torch.tensor(features), target), batch_size=16, shuffle=True)

model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
criterion = nn.MSELoss()
optimizer = optim.SGD(model.parameters(), lr=0.1)
for epoch in range(10):
    running = 0.0
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels)
        loss.backward()
        optimizer.step()
        running += loss.item() / len(loader)
    print(epoch, running)
