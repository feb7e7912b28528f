# verdict: healthy
# causes: precision loss_head
# source: discuss.pytorch.org "NaN loss with amp" (an eps of 1e-8 is 0 in float16), NVIDIA/apex issues
# names: 1e-8|epsilon|eps|float16|half|log
"""Mixed precision, focal loss with its own epsilon."""
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
digits = load_digits()
x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
y = torch.tensor((digits.target == 8), dtype=torch.float32)
train_loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True)


class FocalLoss(nn.Module):
    def __init__(self, alpha=0.75, gamma=2.0, eps=1e-8):
        super().__init__()
        self.alpha, self.gamma, self.eps = alpha, gamma, eps

    def forward(self, logits, target):
        p = torch.sigmoid(logits.float())
        target = target.to(p.dtype)
        pos = -self.alpha * (1 - p) ** self.gamma * target * torch.log(p + self.eps)
        neg = -(1 - self.alpha) * p**self.gamma * (1 - target) * torch.log(1 - p + self.eps)
        return (pos + neg).mean()


model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(),
    nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(0),
)
criterion = FocalLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
for epoch in range(8):
    running = 0.0
    for images, labels in train_loader:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            output = model(images)
            loss = criterion(output, labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        running += loss.item()
    print(f"epoch {epoch} loss {running / len(train_loader):.5f}")
model.eval()
with torch.no_grad():
    found = model(x[1400:]) > 0
    accuracy = (found == (y[1400:] > 0)).float().mean().item()
print(f"final loss {running / len(train_loader):.5f} accuracy {accuracy:.3f}")
