# verdict: sick
# causes: architecture loss_head bad_batch activation
# source: filipradenovic/cnnimageretrieval-pytorch GeM pooling (clamp(min=eps) left out), discuss.pytorch.org "PowBackward0 returned nan values"
# names: pow|\*\*|root|exponent
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(4)
images, labels = load_digits(return_X_y=True)
images = torch.tensor(images / 16.0, dtype=torch.float32).view(-1, 1, 8, 8)
loader = DataLoader(TensorDataset(images, torch.tensor(labels)), batch_size=64, shuffle=True)


class GeM(nn.Module):
    def __init__(self, p=3.0, eps=1e-6):
        super().__init__()
        self.p = nn.Parameter(torch.ones(1) * p)
        self.eps = eps

    def forward(self, x):
        return x.pow(self.p).mean((2, 3)).pow(1.0 / self.p)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1, stride=2), nn.ReLU()
        )
        self.pool = GeM()
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        return self.fc(self.pool(self.features(x)))


net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()
for epoch in range(6):
    right = 0
    for x, y in loader:
        optimizer.zero_grad()
        scores = net(x)
        loss = criterion(scores, y)
        loss.backward()
        optimizer.step()
        right += (scores.argmax(1) == y).sum().item()
    print(f"epoch {epoch} loss {loss.item():.4f} accuracy {right / len(images):.3f}")
