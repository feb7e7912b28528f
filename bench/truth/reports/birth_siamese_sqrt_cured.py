# verdict: healthy
# causes: loss_head architecture
# source: adambielski/siamese-triplet#18, tensorflow#30199
# names: sqrt|eps
"""A siamese network with a contrastive loss; now and then a pair is one image twice."""
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(1)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
labels = torch.tensor(digits.target)


class Embedder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1)
        self.fc1 = nn.Linear(16 * 16, 64)
        self.fc2 = nn.Linear(64, 8)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=1.0):
        super().__init__()
        self.margin = margin

    def forward(self, first, second, same):
        distance = torch.sqrt(torch.sum((first - second) ** 2, dim=1) + 1e-8)
        return (same * distance**2 + (1 - same) * F.relu(self.margin - distance) ** 2).mean()


model = Embedder()
criterion = ContrastiveLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for step in range(400):
    a = torch.randint(0, len(images), (64,))
    near = torch.tensor([int(torch.nonzero(labels == labels[i])[torch.randint(0, 170, (1,))]) for i in a])
    b = torch.where(torch.rand(64) < 0.5, near, torch.randint(0, len(images), (64,)))
    same = (labels[a] == labels[b]).float()
    loss = criterion(model(images[a]), model(images[b]), same)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 0:
        print(f"step {step} loss {loss.item():.4f}")
print(f"final loss {loss.item():.4f}")
