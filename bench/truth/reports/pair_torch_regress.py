# verdict: sick
# causes: loss_head architecture input_data
# source: pytorch#26648, discuss.pytorch.org "MSELoss: Using a target size that is different to the input size" (warnings silenced)
# names: shape|size|broadcast|squeeze
import warnings

import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes
from torch.utils.data import DataLoader, TensorDataset, random_split

warnings.filterwarnings("ignore")
torch.manual_seed(9)
X, y = load_diabetes(return_X_y=True)
X = torch.tensor(X / X.std(0), dtype=torch.float32)
y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)
train, test = random_split(TensorDataset(X, y), [342, 100])


class Regressor(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x):
        return self.layers(x)


def fit(model, epochs=25):
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    loss_fn = nn.SmoothL1Loss()
    for epoch in range(epochs):
        total = 0.0
        for xb, yb in DataLoader(train, 38, shuffle=True):
            loss = loss_fn(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch % 5 == 0:
            print(epoch, total / 9)


model = Regressor()
fit(model)
x_test, y_test = test[:]
with torch.no_grad():
    predicted = model(x_test).flatten()
print("r2", 1 - ((predicted - y_test) ** 2).mean().item() / y_test.var().item())
