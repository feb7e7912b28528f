# verdict: sick
# causes: loss_head architecture
# source: SO "loss does not decrease, softmax on a single output" (53628622 and its kin)
# names: softmax
"""Malignant or benign, scikit-learn's breast cancer table: one output, yes or no."""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(7)
x, y = load_breast_cancer(return_X_y=True)
x = torch.tensor(StandardScaler().fit_transform(x), dtype=torch.float32)
y = torch.tensor(y, dtype=torch.float32).unsqueeze(1)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1))
        self.final = nn.Softmax(dim=1)

    def forward(self, x):
        return self.final(self.layers(x))


model = Classifier()
criterion = nn.BCELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
loader = DataLoader(TensorDataset(x[:450], y[:450]), batch_size=25, shuffle=True)
for epoch in range(12):
    total = 0.0
    for features, label in loader:
        optimizer.zero_grad()
        loss = criterion(model(features), label)
        loss.backward()
        optimizer.step()
        total += loss.item()
with torch.no_grad():
    accuracy = ((model(x[450:]) > 0.5) == (y[450:] > 0.5)).float().mean()
print(f"final loss {total / len(loader):.4f} accuracy {accuracy.item():.3f}")
