# verdict: sick
# causes: input_data architecture
# source: JeasunLok/ResNet-pytorch#1 ("normalization has been used in training set but not used in testing set"), mlpack/examples#213
# names: normali|scale|transform|same (pre|way)|statistics of the (data|inputs)|evaluat.*(data|inputs|batch)
"""MLP-mixer-ish net on digits. Train looks perfect, test is like guessing."""
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)


class DigitSet(Dataset):
    def __init__(self, X, y, transform=None):
        self.X, self.y, self.transform = X.astype(np.float32), y, transform

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        x = self.X[i]
        if self.transform is not None:
            x = self.transform(x)
        return torch.from_numpy(np.ascontiguousarray(x)), int(self.y[i])


X, y = load_digits(return_X_y=True)
X = np.round(X * 255 / 16)
Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.25, random_state=0)
mean, std = Xtr.mean(0), Xtr.std(0) + 1e-3


def normalize(x):
    return ((x - mean) / std).astype(np.float32)


train_loader = DataLoader(DigitSet(Xtr, ytr, normalize), batch_size=64, shuffle=True)
test_loader = DataLoader(DigitSet(Xte, yte), batch_size=128)

model = nn.Sequential(nn.Linear(64, 96), nn.Sigmoid(), nn.Dropout(0.2), nn.Linear(96, 64), nn.Tanh(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(10):
    model.train()
    for xb, yb in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
    model.eval()
    right = 0
    with torch.no_grad():
        for xb, yb in test_loader:
            right += (model(xb).argmax(1) == yb).sum().item()
    print(f"epoch {epoch} train loss {loss.item():.3f} test acc {right / len(yte):.3f}")
