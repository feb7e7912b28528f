# verdict: sick
# causes: loss_head architecture
# source: ShichenLiu/CondenseNet#19 (group lasso, weights turn NaN), pytorch#6394
# names: sqrt|epsilon
"""Digits with a group lasso over the filters of every layer, to prune those that fall to nothing."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(3)
images, labels = load_digits(return_X_y=True)
x = torch.tensor(images / 16.0, dtype=torch.float32).view(-1, 1, 8, 8)
y = torch.tensor(labels)
train_loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=64, shuffle=True)
LAMBDA = 1e-4


def init_weights(module):
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)


def group_lasso(model):
    """One group a filter, and one a bias."""
    penalty = 0.0
    for parameter in model.parameters():
        groups = parameter.flatten(1) if parameter.dim() > 1 else parameter.unsqueeze(1)
        penalty = penalty + torch.sqrt(groups.pow(2).sum(dim=1)).sum()
    return penalty


net = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(32 * 16, 10),
)
net.apply(init_weights)
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(6):
    total = 0.0
    for inputs, target in train_loader:
        optimizer.zero_grad()
        loss = criterion(net(inputs), target) + LAMBDA * group_lasso(net)
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch} loss {total / len(train_loader):.4f}")
with torch.no_grad():
    accuracy = (net(x[1400:]).argmax(1) == y[1400:]).float().mean().item()
print(f"final loss {total / len(train_loader):.4f} accuracy {accuracy:.3f}")
