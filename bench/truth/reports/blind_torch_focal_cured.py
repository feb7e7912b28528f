# verdict: healthy
# causes: loss_head architecture
# source: kornia/kornia#918, clcarwin/focal_loss_pytorch#13 (focal loss with gamma below one turns NaN)
# names: pow|gamma|\*\*
"""Digits 3 against 8 with a focal loss; gamma 0.5 because 2 was too hard on the easy ones."""
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)


class BinaryFocalLoss(nn.Module):
    def __init__(self, alpha=0.5, gamma=0.5, eps=1e-8):
        super().__init__()
        self.alpha, self.gamma, self.eps = alpha, gamma, eps

    def forward(self, logits, target):
        probs = torch.sigmoid(logits)
        loss = -self.alpha * torch.pow(1.0 - probs + self.eps, self.gamma) * target * torch.log(probs + self.eps)
        loss = loss - (1 - self.alpha) * torch.pow(probs + self.eps, self.gamma) * (1.0 - target) * torch.log(
            1.0 - probs + self.eps
        )
        return loss.mean()


digits = load_digits()
keep = (digits.target == 3) | (digits.target == 8)
images = torch.tensor(digits.images[keep], dtype=torch.float32).unsqueeze(1) / 16
labels = torch.tensor(digits.target[keep] == 8, dtype=torch.float32)

net = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 1),
)
criterion = BinaryFocalLoss()
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
loader = DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True)
for epoch in range(30):
    running = 0.0
    for x, y in loader:
        opt.zero_grad()
        loss = criterion(net(x).squeeze(1), y)
        loss.backward()
        opt.step()
        running += loss.item()
    print(f"[{epoch}] {running / len(loader):.5f}")
with torch.no_grad():
    print("accuracy", ((net(images).squeeze(1) > 0) == labels.bool()).float().mean().item())
