# verdict: sick
# causes: loss_head
# source: "IoU loss nan" (UnitBox style -log(iou) in detection repositories, e.g. yqyao/FCOS_PLUS, sfzhang15 threads): boxes that do not overlap
# names: log|eps|overlap|clamp
"""A one-box detector on digits put somewhere on a canvas, trained with an IoU loss."""
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
rng = np.random.default_rng(0)
digits = load_digits().images / 16.0
canvas = np.zeros((len(digits), 1, 24, 24), dtype=np.float32)
boxes = np.zeros((len(digits), 4), dtype=np.float32)
for i, digit in enumerate(digits):
    top, left = rng.integers(0, 17, 2)
    canvas[i, 0, top : top + 8, left : left + 8] = digit
    boxes[i] = [left / 24, top / 24, (left + 8) / 24, (top + 8) / 24]
x, y = torch.from_numpy(canvas), torch.from_numpy(boxes)
loader = DataLoader(TensorDataset(x[:1500], y[:1500]), batch_size=50, shuffle=True)


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(),
        )
        self.box = nn.Sequential(nn.Linear(32 * 36, 64), nn.ReLU(), nn.Linear(64, 4))

    def forward(self, images):
        cx, cy, w, h = self.box(self.backbone(images)).unbind(1)
        return torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], dim=1)


def iou(pred, target):
    left_top = torch.max(pred[:, :2], target[:, :2])
    right_bottom = torch.min(pred[:, 2:], target[:, 2:])
    inter = (right_bottom - left_top).clamp(min=0).prod(1)
    area = lambda b: (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    return inter / (area(pred) + area(target) - inter)


def iou_loss(pred, target):
    return -torch.log(iou(pred, target)).mean()


model = Detector()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for epoch in range(8):
    total = 0.0
    for images, target in loader:
        loss = iou_loss(model(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch}: loss {total / len(loader):.4f}")
model.eval()
with torch.no_grad():
    print(f"final loss {total / len(loader):.4f} mean IoU {iou(model(x[1500:]), y[1500:]).mean().item():.3f}")
