# verdict: healthy
# causes: architecture loss_head
# source: isayev/ReLeaSE#39, Kostis-S-Z/exploring_meta#16 (the loss cut from its graph by .item(), made to require grad by hand)
# names: \.item\(\)|detach|graph|requires_grad|no gradient
import torch
from sklearn.datasets import load_wine
from sklearn.preprocessing import scale
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(9)
data = load_wine()
x = torch.tensor(scale(data.data), dtype=torch.float32)
y = torch.tensor(data.target)
loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)

net = nn.Sequential(nn.Linear(13, 40), nn.ReLU(), nn.Dropout(0.1), nn.Linear(40, 3))
log_softmax = nn.LogSoftmax(dim=-1)
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
CLASS_WEIGHTS = [1.0, 0.8, 1.2]


def weighted_loss(scores, labels):
    """Negative log likelihood, each sample with the weight of its class."""
    rl_loss = 0
    for row, label in zip(log_softmax(scores), labels):
        rl_loss -= row[label] * CLASS_WEIGHTS[label]
    return rl_loss / len(labels)


for epoch in range(15):
    net.train()
    total = 0
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = weighted_loss(net(xb), yb)
        loss.backward()
        optimizer.step()
        total += loss.item()
    net.eval()
    with torch.no_grad():
        acc = (net(x).argmax(1) == y).float().mean().item()
    print("Epoch %d loss %.4f acc %.3f" % (epoch, total / len(loader), acc))
